// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Imports go down only: a file uses its own floor and those below it, and no two files need each
//! other, directly or through others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// From the ground up. The rooms of `image` are floors too; what lies in none of them serves all.
const FLOORS: [&[&str]; 10] = [
    &["address", "error", "per_thread"],
    &["host"],
    &["memory"],
    &["access"],
    &["image::format"],
    &["image"],
    &["image::find"],
    &["image::write"],
    &["image::read"],
    &["ffi"],
];

type Imports = BTreeMap<String, BTreeSet<String>>;

fn files(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let inner =
                path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
            let name = inner.with_extension("").to_str().unwrap().replace('/', "::");
            let name = name.trim_end_matches("::mod").to_string();
            found.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The code of a file, without comments and what is compiled for tests only.
fn code(text: &str) -> String {
    let code = text.split("\n#[cfg(test)]").next().unwrap();
    let code = code.split("\n#[cfg(all(test").next().unwrap();
    code.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join(" ")
}

/// The paths below the crate that a text names, lists in braces spread out.
fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        let (path, behind) = rest.split_at(end.unwrap_or(rest.len()));
        match behind.strip_prefix('{').and_then(|list| list.split('}').next()) {
            Some(list) => found.extend(list.split(',').map(|item| path.to_string() + item.trim())),
            None => found.push(path.to_string()),
        }
    }
    found
}

/// The file that defines what a path names.
fn owner(path: &str, names: &BTreeSet<String>) -> Option<String> {
    let mut path = path.trim_end_matches(':').trim_end_matches("::self");
    loop {
        if names.contains(path) {
            return Some(path.to_string());
        }
        path = &path[..path.rfind("::")?];
    }
}

fn imports() -> Imports {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.retain(|(name, _)| name != "lib" && !name.contains("tests"));
    let names: BTreeSet<String> = found.iter().map(|(name, _)| name.clone()).collect();
    let owners =
        |text: &str| paths(&code(text)).iter().filter_map(|path| owner(path, &names)).collect();
    found.iter().map(|(name, text)| (name.clone(), owners(text))).collect()
}

fn floor(name: &str) -> usize {
    let is_on = |place: &str| name == place || name.starts_with(&format!("{place}::"));
    let places = FLOORS
        .iter()
        .enumerate()
        .flat_map(|(floor, places)| places.iter().map(move |place| (floor, *place)));
    // The room that a file lies in, rather than the one around that.
    let nearest = places.filter(|(_, place)| is_on(place)).max_by_key(|(_, place)| place.len());
    nearest.expect(name).0
}

/// What a file reaches through its imports, itself among them if it is in a circle.
fn reached<'a>(from: &str, imports: &'a Imports) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    let mut open: Vec<&str> = imports[from].iter().map(String::as_str).collect();
    while let Some(name) = open.pop() {
        if seen.insert(name) {
            open.extend(imports[name].iter().map(String::as_str));
        }
    }
    seen
}

#[test]
fn imports_go_down_only() {
    let imports = imports();
    assert!(imports.len() > 50, "the sources were not found");
    let mut wrong = Vec::new();
    for (name, uses) in &imports {
        for used in uses.iter().filter(|used| floor(used) > floor(name)) {
            wrong.push(format!("{name} uses {used}, which lies above it"));
        }
        let circle =
            uses.iter().filter(|used| *used != name && reached(used, &imports).contains(&**name));
        for used in circle {
            wrong.push(format!("{name} and {used} need each other"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
