// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! JSON as a tree: RFC 8259. Half a surrogate pair is read as [`HALF`].

use std::fmt::Write;

/// What keeps the reader's own recursion bounded.
const MAX_DEPTH: usize = 10_000;

/// Stands for half a surrogate pair; nobody writes this character.
pub const HALF: char = '\u{10fffe}';

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` and `false`
    Bool(bool),
    /// As it is spelt.
    Number(String),
    /// Decoded.
    Text(String),
    /// `[...]`
    Array(Vec<Json>),
    /// `{...}`, in its order.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a whole text.
    pub fn read(text: &[u8]) -> Option<Json> {
        let mut reader = Reader { rest: std::str::from_utf8(text).ok()? };
        let value = reader.value(1)?;
        reader.skip_space();
        reader.rest.is_empty().then_some(value)
    }

    /// True for an object in which no key of `known` stands twice and no key is broken.
    pub fn is_sound(&self, known: &[&str]) -> bool {
        let Json::Object(members) = self else { return false };
        let count = |key: &str| members.iter().filter(|(name, _)| name == key).count();
        known.iter().all(|key| count(key) < 2) && !members.iter().any(|(key, _)| key.contains(HALF))
    }

    /// The value that belongs to `key` in an object.
    pub fn get(&self, key: &str) -> Option<&Json> {
        let Json::Object(members) = self else { return None };
        members.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// As `get`.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Json> {
        let Json::Object(members) = self else { return None };
        members.iter_mut().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// A number of digits alone that fits.
    pub fn number(&self) -> Option<u64> {
        match self {
            Json::Number(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok()
            }
            _ => None,
        }
    }

    /// The items of an array.
    pub fn items(&self) -> Option<&Vec<Json>> {
        if let Json::Array(items) = self { Some(items) } else { None }
    }

    /// As `items`.
    pub fn items_mut(&mut self) -> Option<&mut Vec<Json>> {
        if let Json::Array(items) = self { Some(items) } else { None }
    }

    /// As a text without white space.
    pub fn to_text(&self) -> Vec<u8> {
        let mut text = String::new();
        self.write(&mut text);
        text.into_bytes()
    }

    fn write(&self, out: &mut String) {
        match self {
            Json::Null => out.push_str("null"),
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Number(spelt) => out.push_str(spelt),
            Json::Text(text) => quote(text, out),
            Json::Array(items) => between(b"[]", items, out, |item, out| item.write(out)),
            Json::Object(members) => between(b"{}", members, out, |(key, value), out| {
                quote(key, out);
                out.push(':');
                value.write(out);
            }),
        }
    }
}

fn between<T>(brackets: &[u8; 2], items: &[T], out: &mut String, each: fn(&T, &mut String)) {
    out.push(brackets[0].into());
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        each(item, out);
    }
    out.push(brackets[1].into());
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            '\0'..' ' => write!(out, "\\u{:04x}", char as u32).expect("a String takes all"),
            _ => out.push(char),
        }
    }
    out.push('"');
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    /// Takes `word`, if it comes next.
    fn take(&mut self, word: &str) -> Option<()> {
        self.rest = self.rest.strip_prefix(word)?;
        Some(())
    }

    /// Takes one character, with the white space before it, if it comes next.
    fn mark(&mut self, mark: &str) -> Option<()> {
        self.skip_space();
        self.take(mark)
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        self.skip_space();
        match self.rest.chars().next()? {
            'n' => self.take("null").map(|()| Json::Null),
            't' => self.take("true").map(|()| Json::Bool(true)),
            'f' => self.take("false").map(|()| Json::Bool(false)),
            '"' => self.text().map(Json::Text),
            '[' | '{' if depth > MAX_DEPTH => None,
            '[' => self.array(depth),
            '{' => self.object(depth),
            _ => self.number(),
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        let mut items = Vec::new();
        self.take("[")?;
        if self.mark("]").is_some() {
            return Some(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.mark(",").is_none() {
                return self.mark("]").map(|()| Json::Array(items));
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        let mut members: Vec<(String, Json)> = Vec::new();
        self.take("{")?;
        if self.mark("}").is_some() {
            return Some(Json::Object(members));
        }
        loop {
            self.skip_space();
            let key = self.text()?;
            self.mark(":")?;
            members.push((key, self.value(depth + 1)?));
            if self.mark(",").is_none() {
                return self.mark("}").map(|()| Json::Object(members));
            }
        }
    }

    fn text(&mut self) -> Option<String> {
        let mut text = String::new();
        self.take("\"")?;
        loop {
            let char = self.char()?;
            match char {
                '"' => return Some(text),
                '\\' => text.push(self.escaped()?),
                '\0'..' ' => return None,
                _ => text.push(char),
            }
        }
    }

    fn char(&mut self) -> Option<char> {
        let char = self.rest.chars().next()?;
        self.rest = &self.rest[char.len_utf8()..];
        Some(char)
    }

    /// What comes behind a backslash.
    fn escaped(&mut self) -> Option<char> {
        Some(match self.char()? {
            char @ ('"' | '\\' | '/') => char,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = self.unit()?;
                let behind = self.rest;
                let second = self.take("\\u").and_then(|()| self.unit());
                let pair = [first, second.unwrap_or(0)];
                let char = char::decode_utf16(pair).next()?.unwrap_or(HALF);
                if char.len_utf16() == 1 || char == HALF {
                    self.rest = behind;
                }
                char
            }
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u16> {
        let mut unit = 0;
        for _ in 0..4 {
            unit = unit << 4 | self.char()?.to_digit(16)? as u16;
        }
        Some(unit)
    }

    fn number(&mut self) -> Option<Json> {
        let whole = self.rest;
        let _ = self.take("-");
        if self.take("0").is_none() {
            self.digits()?;
        }
        if self.take(".").is_some() {
            self.digits()?;
        }
        if self.take("e").or_else(|| self.take("E")).is_some() {
            let _ = self.take("+").or_else(|| self.take("-"));
            self.digits()?;
        }
        Some(Json::Number(whole[..whole.len() - self.rest.len()].into()))
    }

    /// At least one.
    fn digits(&mut self) -> Option<()> {
        let rest = self.rest.trim_start_matches(|char: char| char.is_ascii_digit());
        let any = rest.len() < self.rest.len();
        self.rest = rest;
        any.then_some(())
    }
}
