// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `include/guestmem.h` is what `src/ffi/` makes of it. `GUESTMEM_UPDATE_HEADER=1 cargo test --test
//! header` rewrites it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The files of `src/ffi/` that declare something, in the order of the header's sections.
const SECTIONS: [&str; 17] = [
    "version",
    "status",
    "region",
    "memory",
    "query",
    "translate",
    "translate_slices",
    "access",
    "value",
    "slice",
    "transfer",
    "view",
    "view_value",
    "policy",
    "hotplug",
    "snapshot",
    "image",
];

/// Files with structs that several sections use: the first such section, and the file.
const BESIDE: [(&str, &str); 1] = [("translate_slices", "slice_struct")];

/// A function may bear the name of the struct that it fills; g++ warns that it hides the struct's
/// constructor.
const FOR_CXX_BEGIN: &str = "\
#ifdef __cplusplus
/* Some functions bear the name of the struct that they fill. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored \"-Wshadow\"
extern \"C\" {
#endif
";
const FOR_CXX_END: &str = "
#ifdef __cplusplus
}
#pragma GCC diagnostic pop
#endif

";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn source(section: &str) -> PathBuf {
    root().join("src/ffi").join(section).with_extension("rs")
}

/// The module comment of a file: the header's first comment, or a section's head.
fn module_comment(section: &str) -> Vec<String> {
    let text = std::fs::read_to_string(source(section)).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line).to_string()).collect()
}

fn comment(lines: &[String]) -> String {
    let mut text = String::from("/*\n");
    for line in lines {
        writeln!(text, "{}", format!(" * {line}").trim_end()).unwrap();
    }
    text + " */\n"
}

/// The list of sections, one line for each number: the first lines of the sections' heads, such as
/// "6 Access: values", with what stands behind the colons gathered.
fn contents() -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for section in SECTIONS {
        let heading = module_comment(section).swap_remove(0);
        let (title, part) = heading.split_once(": ").unwrap_or((&heading, ""));
        let (number, name) = title.split_once(' ').unwrap();
        let title = format!("  {number:>2}  {name}");
        match lines.last_mut() {
            Some(last) if last.starts_with(&title) => {
                let separator = if *last == title { ": " } else { ", " };
                *last = format!("{last}{separator}{part}");
            }
            _ if part.is_empty() => lines.push(title),
            _ => lines.push(format!("{title}: {part}")),
        }
    }
    lines
}

/// The header's first comment: the manual, with the list of sections.
fn manual() -> Vec<String> {
    let mut lines = module_comment("mod");
    let at = lines.iter().position(|line| line == "Contents").unwrap();
    lines.splice(at + 1..at + 1, contents());
    lines
}

/// The names of all structs in `src/ffi/`: a section may use those of another.
fn structs() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for section in SECTIONS {
        for file in files(section) {
            let text = std::fs::read_to_string(file).unwrap();
            for line in text.lines() {
                let name =
                    line.strip_prefix("pub struct ").and_then(|rest| rest.split([' ', '<']).next());
                all.extend(name.map(|name| (section.to_string(), name.to_string())));
            }
        }
    }
    all
}

/// The files that declare what is in a section.
fn files(section: &str) -> Vec<PathBuf> {
    let beside = BESIDE.iter().filter(|(home, _)| *home == section);
    beside.map(|(_, file)| *file).chain([section]).map(source).collect()
}

fn declarations(section: &str) -> String {
    let mut config = cbindgen::Config::from_file(root().join("cbindgen.toml")).unwrap();
    for (home, name) in structs() {
        if home != section {
            config.export.rename.insert(name.clone(), format!("struct {name}"));
        }
    }
    let builder = cbindgen::Builder::new().with_config(config);
    let builder = files(section).into_iter().fold(builder, cbindgen::Builder::with_src);
    let bindings = builder.generate().unwrap();
    let mut bytes = Vec::new();
    bindings.write(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

/// A comment of one line takes one line.
fn join_short_comments(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut joined = String::new();
    let mut at = 0;
    while at < lines.len() {
        let indent = lines[at].find("/**").unwrap_or(0);
        let short = match lines[at..] {
            [open, line, close, ..] if open.trim() == "/**" && close.trim() == "*/" => {
                line.trim().strip_prefix("* ").map(|words| format!("/** {words} */"))
            }
            _ => None,
        };
        match short.filter(|comment| indent + comment.len() <= 100) {
            Some(comment) => {
                writeln!(joined, "{:indent$}{comment}", "").unwrap();
                at += 3;
            }
            None => {
                writeln!(joined, "{}", lines[at]).unwrap();
                at += 1;
            }
        }
    }
    joined
}

fn generate() -> String {
    let mut text = String::from("/* SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause */\n");
    text += &comment(&manual());
    text += "\n/* Generated from src/ffi/; `GUESTMEM_UPDATE_HEADER=1 cargo test --test header` rewrites it. */\n";
    text += "\n#ifndef GUESTMEM_H\n#define GUESTMEM_H\n\n";
    text += "#include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n\n";
    text += FOR_CXX_BEGIN;
    for section in SECTIONS {
        text += "\n\n";
        text += &comment(&module_comment(section));
        text += "\n";
        text += join_short_comments(&declarations(section)).trim();
        text += "\n";
    }
    text += FOR_CXX_END;
    text + "#include \"guestmem_inline.h\"\n\n#endif /* GUESTMEM_H */\n"
}

#[test]
fn the_header_is_what_the_sources_make() {
    let path = root().join("include/guestmem.h");
    let fresh = generate();
    if std::env::var_os("GUESTMEM_UPDATE_HEADER").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let drift = fresh.lines().zip(committed.lines()).find(|(a, b)| a != b);
    assert!(
        fresh == committed,
        "include/guestmem.h has drifted from src/ffi/ at {drift:?}; \
         GUESTMEM_UPDATE_HEADER=1 cargo test --test header rewrites it"
    );
}
