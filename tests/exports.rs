// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The shared library exports what the header declares, and nothing else, and is linked as a
//! library that plugins load must be.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

/// `cargo test` builds the cdylib beside the test programs.
fn library() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().to_path_buf();
    folder.join("libguestmem.so")
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).arg(library()).output().unwrap();
    assert!(output.status.success(), "{program}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn exported() -> BTreeSet<String> {
    let symbols = output("nm", &["-D", "--defined-only", "--format=posix"]);
    symbols.lines().map(|line| line.split(' ').next().unwrap().to_string()).collect()
}

/// Names that stand before a `(` at the end of a declaration's first line.
fn declared() -> BTreeSet<String> {
    let header = include_str!("../include/guestmem.h");
    let code = header.lines().filter(|line| !line.starts_with([' ', '/', '#', '}']));
    let before_bracket = code.filter_map(|line| line.split_once('(').map(|(before, _)| before));
    let names = before_bracket.filter_map(|text| text.rsplit([' ', '*']).next());
    names.filter(|name| name.starts_with("guestmem_")).map(str::to_string).collect()
}

#[test]
fn exports_are_the_declared_functions() {
    assert!(declared().len() > 60, "the header was read: {}", declared().len());
    assert_eq!(exported(), declared());
}

#[test]
fn the_library_has_a_soname_and_stays_loaded() {
    let dynamic = output("readelf", &["-d", "-W"]);
    assert!(dynamic.contains("soname: [libguestmem.so.0]"), "{dynamic}");
    assert!(dynamic.contains("NODELETE"), "{dynamic}");
}
