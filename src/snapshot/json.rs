// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A pull parser for JSON that nobody vouches for.
//!
//! General parsers copy keys and mistyped strings, and format them into their errors, in
//! allocations that end the process when they fail. This one borrows everything, allocates only
//! fallibly, keeps its nesting in a fixed array instead of on the stack, and refuses duplicate
//! keys in every object, known or not.

use crate::error::{Error, Result};
use std::cmp::Ordering;

/// Levels of nesting that are accepted.
pub const MAX_DEPTH: usize = 128;

const MALFORMED: Error = Error::Metadata("the metadata is not well-formed JSON");

/// What stands between the quotes of a string: checked, not decoded.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a>(&'a str);

impl Text<'_> {
    /// True when the string, once decoded, is `other`.
    pub fn is(self, other: &str) -> bool {
        if self.has_escapes() { decoded(self.0).eq(other.chars()) } else { self.0 == other }
    }

    fn order(self, other: Self) -> Ordering {
        // UTF-8 sorts by bytes as it does by characters.
        match self.has_escapes() || other.has_escapes() {
            true => decoded(self.0).cmp(decoded(other.0)),
            false => self.0.cmp(other.0),
        }
    }

    /// FNV-1a over the decoded characters: lets most comparisons do without the text.
    fn hash(self) -> u32 {
        let mix = |hash: u32, char| (hash ^ u32::from(char)).wrapping_mul(0x0100_0193);
        match self.has_escapes() {
            true => decoded(self.0).fold(0x811c_9dc5, mix),
            false => self.0.chars().fold(0x811c_9dc5, mix),
        }
    }

    fn has_escapes(self) -> bool {
        self.0.as_bytes().contains(&b'\\')
    }
}

fn decoded(mut raw: &str) -> impl Iterator<Item = char> {
    std::iter::from_fn(move || {
        let (char, len) = match raw.strip_prefix('\\') {
            Some(rest) => escape(rest.as_bytes()).map(|(char, len)| (char, len + 1))?,
            None => raw.chars().next().map(|char| (char, char.len_utf8()))?,
        };
        raw = &raw[len..];
        Some(char)
    })
}

/// The character that the bytes behind a backslash stand for, and how many they are.
fn escape(rest: &[u8]) -> Option<(char, usize)> {
    let char = match rest.first()? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return utf16(&rest[1..]).map(|(char, len)| (char, len + 1)),
        _ => return None,
    };
    Some((char, 1))
}

/// One or, for a surrogate pair, two groups of four hex digits.
fn utf16(rest: &[u8]) -> Option<(char, usize)> {
    let first = hex4(rest)?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first).map(|char| (char, 4));
    }
    let rest = rest[4..].strip_prefix(b"\\u")?;
    let second = hex4(rest).filter(|unit| (0xdc00..0xe000).contains(unit))?;
    char::from_u32(0x10000 + ((first & 0x3ff) << 10 | second & 0x3ff)).map(|char| (char, 10))
}

fn hex4(rest: &[u8]) -> Option<u32> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    rest.get(..4)?.iter().try_fold(0, |unit, byte| Some(unit << 4 | digit(byte)?))
}

/// An object or array that is being read.
#[derive(Clone, Copy, Debug, Default)]
struct Level {
    is_object: bool,
    started: bool,
    /// Where its keys begin in `Json::keys`.
    first_key: u32,
}

/// A key of an object that is being read.
#[derive(Clone, Copy, Debug)]
struct Key {
    hash: u32,
    start: u32,
    len: u32,
}

/// A position in a JSON text.
#[derive(Debug)]
pub struct Json<'a> {
    text: &'a str,
    at: usize,
    levels: [Level; MAX_DEPTH],
    depth: usize,
    /// Those of all objects that are open.
    keys: Vec<Key>,
}

impl<'a> Json<'a> {
    /// The start of `text`.
    pub fn new(text: &'a str) -> Self {
        Json { text, at: 0, levels: [Level::default(); MAX_DEPTH], depth: 0, keys: Vec::new() }
    }

    /// Refuses anything but white space from here on.
    pub fn end(&mut self) -> Result<()> {
        if self.peek().is_none() { Ok(()) } else { Err(MALFORMED) }
    }

    /// Enters an object.
    pub fn begin_object(&mut self) -> Result<()> {
        self.expect(b'{')?;
        self.push(true)
    }

    /// Enters an array.
    pub fn begin_array(&mut self) -> Result<()> {
        self.expect(b'[')?;
        self.push(false)
    }

    /// The next key of the object, its value comes next; None leaves the object.
    pub fn next_key(&mut self) -> Result<Option<Text<'a>>> {
        if !self.next_member(b'}')? {
            return Ok(None);
        }
        let key = self.string()?;
        // Without the closing quote.
        let end = self.at - 1;
        let span = |at: usize| u32::try_from(at).map_err(|_| MALFORMED);
        let (start, len) = (span(end - key.0.len())?, span(key.0.len())?);
        self.keys.try_reserve(1).map_err(|_| Error::NoMemory("the metadata's keys"))?;
        self.keys.push(Key { hash: key.hash(), start, len });
        self.expect(b':')?;
        Ok(Some(key))
    }

    /// True when another item of the array comes next; false leaves the array.
    pub fn next_item(&mut self) -> Result<bool> {
        self.next_member(b']')
    }

    /// A string.
    pub fn string(&mut self) -> Result<Text<'a>> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            match self.text.as_bytes().get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    let rest = &self.text.as_bytes()[self.at + 1..];
                    self.at += 1 + escape(rest).ok_or(MALFORMED)?.1;
                }
                Some(0x20..) => self.at += 1,
                _ => return Err(MALFORMED),
            }
        }
        self.at += 1;
        Ok(Text(&self.text[start..self.at - 1]))
    }

    /// A whole number that fits 64 bits, without sign, fraction or exponent.
    pub fn u64(&mut self) -> Result<u64> {
        self.peek();
        let start = self.at;
        self.digits()?;
        let next = self.text.as_bytes().get(self.at);
        if matches!(next, Some(b'.' | b'e' | b'E')) {
            return Err(Error::Metadata("a number is not a whole one"));
        }
        let digits = &self.text[start..self.at];
        if digits.len() > 1 && digits.starts_with('0') {
            return Err(MALFORMED);
        }
        digits.parse().map_err(|_| Error::Metadata("a number does not fit 64 bits"))
    }

    /// Where it stands, to `go_back` to within the same object or array.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Goes back to where it stood.
    pub fn go_back(&mut self, position: usize) {
        self.at = position;
    }

    /// Passes `text` if exactly that comes right here.
    pub fn pass_exactly(&mut self, text: &str) -> bool {
        let found = self.text.as_bytes()[self.at..].starts_with(text.as_bytes());
        self.at += if found { text.len() } else { 0 };
        found
    }

    /// Passes digits that come right here and make a number as `u64` takes it. What comes next
    /// is left to the caller to judge.
    pub fn pass_digits(&mut self) -> Option<u64> {
        let rest = &self.text.as_bytes()[self.at..];
        let is_zero = rest.first() == Some(&b'0');
        let mut number = 0u64;
        let mut count = 0;
        while let Some(digit) = rest.get(count).filter(|byte| byte.is_ascii_digit()) {
            number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            count += 1;
        }
        self.at += count;
        (count > 0 && (count == 1 || !is_zero)).then_some(number)
    }

    /// `true` or `false`.
    pub fn bool(&mut self) -> Result<bool> {
        let value = self.peek() == Some(b't');
        self.literal(if value { "true" } else { "false" })?;
        Ok(value)
    }

    /// Passes any value, checking all of it. Gives its text.
    pub fn skip(&mut self) -> Result<&'a str> {
        self.peek();
        let (start, outer) = (self.at, self.depth);
        self.pass()?;
        while self.depth > outer {
            let more = match self.levels[self.depth - 1].is_object {
                true => self.next_key()?.is_some(),
                false => self.next_item()?,
            };
            if more {
                self.pass()?;
            }
        }
        Ok(&self.text[start..self.at])
    }

    /// Passes a plain value, or enters an object or array.
    fn pass(&mut self) -> Result<()> {
        match self.peek() {
            Some(b'{') => self.begin_object(),
            Some(b'[') => self.begin_array(),
            Some(b'"') => self.string().map(|_| ()),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => self.number(),
        }
    }

    fn number(&mut self) -> Result<()> {
        self.take(b'-');
        let start = self.at;
        self.digits()?;
        if self.text.as_bytes()[start] == b'0' && self.at - start > 1 {
            return Err(MALFORMED);
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'-') || self.take(b'+');
            self.digits()?;
        }
        Ok(())
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<()> {
        let rest = &self.text.as_bytes()[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(MALFORMED) } else { Ok(()) }
    }

    fn literal(&mut self, word: &str) -> Result<()> {
        self.peek();
        if self.pass_exactly(word) { Ok(()) } else { Err(MALFORMED) }
    }

    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// Passes `byte` if it comes right here.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.text.as_bytes().get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        self.peek();
        if self.take(byte) { Ok(()) } else { Err(MALFORMED) }
    }

    fn push(&mut self, is_object: bool) -> Result<()> {
        let first_key = self.keys.len() as u32;
        let deeper = self.levels.get_mut(self.depth);
        *deeper.ok_or(Error::Metadata("nested more than 128 levels deep"))? =
            Level { is_object, started: false, first_key };
        self.depth += 1;
        Ok(())
    }

    /// Passes the comma before the next member; false when the object or array closed instead.
    fn next_member(&mut self, close: u8) -> Result<bool> {
        let level = self.depth.checked_sub(1).ok_or(Error::Internal("in no object or array"))?;
        self.peek();
        if self.take(close) {
            self.refuse_duplicates(self.levels[level].first_key as usize)?;
            self.depth = level;
            return Ok(false);
        }
        if self.levels[level].started {
            self.expect(b',')?;
        }
        self.levels[level].started = true;
        Ok(true)
    }

    /// Looks at the keys of the innermost object, which are not needed any more.
    fn refuse_duplicates(&mut self, first: usize) -> Result<()> {
        let text = |key: &Key| Text(&self.text[key.start as usize..][..key.len as usize]);
        let order = |a: &Key, b: &Key| a.hash.cmp(&b.hash).then_with(|| text(a).order(text(b)));
        let keys = &mut self.keys[first..];
        keys.sort_unstable_by(order);
        let duplicate = keys.windows(2).any(|pair| order(&pair[0], &pair[1]).is_eq());
        self.keys.truncate(first);
        if duplicate { Err(Error::Metadata("a key stands twice in an object")) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<()> {
        let mut json = Json::new(text);
        json.skip()?;
        json.end()
    }

    #[test]
    fn agrees_with_another_parser_on_every_damaged_text() {
        let text = concat!(
            "{\"a\" : [1, -0.5e+3,\t0, true],\n \"\\u00e9\\n\": {\"\u{e9}\": null, \"\": \"\\\"\"},",
            "\"b\":false ,\"c\":[[],{}, \"\\ud83d\\ude00\"]} "
        );
        assert!(check(text).is_ok());
        let mut accepted = 0;
        for at in 0..text.len() {
            let cut = &text.as_bytes()[..at];
            for bit in 0..8 {
                let mut flipped = text.as_bytes().to_vec();
                flipped[at] ^= 1 << bit;
                accepted += u32::from(agree(&flipped));
            }
            agree(cut);
            for insert in b"{}[],:\"\\0-.eE tu \x7f" {
                accepted += u32::from(agree(&[cut, &[*insert], &text.as_bytes()[at..]].concat()));
            }
        }
        assert!(accepted > 100);
    }

    fn agree(text: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(text) else { return false };
        // Numbers are kept as text there, so that ranges of floats play no part.
        let theirs = serde_json::from_str::<serde_json::Value>(text);
        let ours = match check(text) {
            Err(Error::Metadata("a key stands twice in an object")) => return false,
            other => other.is_ok(),
        };
        let too_large = theirs.as_ref().is_err_and(|e| e.to_string().contains("out of range"));
        assert_eq!(ours, theirs.is_ok() || too_large, "{text:?}");
        ours
    }

    #[test]
    fn the_deepest_accepted_nesting_is_the_limit() {
        let nested = |depth| "[".repeat(depth) + &"]".repeat(depth);
        assert!(check(&nested(MAX_DEPTH)).is_ok());
        for depth in [MAX_DEPTH + 1, 100_000] {
            assert!(matches!(check(&nested(depth)), Err(Error::Metadata(_))));
            assert!(matches!(check(&"{\"a\":".repeat(depth)), Err(Error::Metadata(_))));
        }
    }

    #[test]
    fn duplicate_keys_are_found_at_every_level_and_in_every_spelling() {
        for twice in [
            "{\"a\":1,\"a\":1}",
            "{\"a\":1,\"b\":2,\"\\u0061\":3}",
            "[{\"x\":{\"\\ud83d\\ude00\":0,\"\u{1f600}\":0}}]",
            "{\"\":0,\"b\":{\"c\":0},\"\":0}",
        ] {
            assert_eq!(check(twice), Err(Error::Metadata("a key stands twice in an object")));
        }
        assert!(check("{\"a\":{\"a\":[{\"a\":0},{\"a\":0}]},\"b\":0}").is_ok());
    }

    #[test]
    fn only_whole_numbers_are_numbers() {
        let number = |text: &str| {
            let mut json = Json::new(text);
            let value = json.u64()?;
            json.end().map(|()| value)
        };
        assert_eq!(number(" 0"), Ok(0));
        assert_eq!(number("18446744073709551615 "), Ok(u64::MAX));
        for bad in ["18446744073709551616", "-1", "-0", "1.0", "1e3", "1e400", "01", "", "\"1\""] {
            assert!(matches!(number(bad), Err(Error::Metadata(_))), "{bad}");
        }
        for bad in ["+1", "0x1", "1_0", "NaN", "null", "[1]"] {
            assert!(matches!(number(bad), Err(Error::Metadata(_))), "{bad}");
        }
    }

    #[test]
    fn strings_compare_decoded() {
        let text = |text| Json::new(text).string().unwrap();
        assert!(text("\"size\"").is("size") && text("\"\\u0073ize\"").is("size"));
        assert!(!text("\"\\\\u0073ize\"").is("size") && !text("\"\"").is("size"));
        for bad in ["\"\\ud800\"", "\"\\udc00\"", "\"\\u12\"", "\"\\x\"", "\"\n\"", "\"", "\"\\"] {
            assert!(Json::new(bad).string().is_err(), "{bad}");
        }
    }
}
