//! The files in the tree are those that the program writes, and mandoc finds nothing to say about them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{has, page};

#[test]
fn the_pages_are_what_the_program_writes() {
    compare("man", "man");
}

#[test]
fn the_completions_are_what_the_program_writes() {
    compare("completions", "packaging/completions");
}

fn compare(verb: &str, folder: &str) {
    let fresh = tempfile::tempdir().unwrap();
    let status = Command::new(env!("CARGO_BIN_EXE_mpreg"))
        .args(["docs", verb])
        .arg(fresh.path())
        .env_clear()
        .status()
        .unwrap();
    assert!(status.success());
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let (kept, fresh) = (files(&kept), files(fresh.path()));
    let differ: Vec<&PathBuf> =
        kept.keys().chain(fresh.keys()).filter(|name| kept.get(*name) != fresh.get(*name)).collect();
    assert!(differ.is_empty(), "{folder}: {differ:?} are old; renew them: cargo run -- docs {verb} {folder}");
}

fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| (path.file_name().unwrap().into(), std::fs::read_to_string(&path).unwrap())).collect()
}

#[test]
fn the_pages_pass_the_checker() {
    if !has("mandoc", "the manual pages are") {
        return;
    }
    let pages = page::all();
    assert!(pages.len() >= 4, "{pages:?}");
    let checked = Command::new("mandoc")
        .args(["-T", "lint"])
        .args(pages.iter().map(|(name, _)| page::folder().join(name)))
        .output()
        .unwrap();
    let told = String::from_utf8(checked.stdout).unwrap();
    // Whether our own pages are installed does not matter; that they exist is looked at below.
    let faults: Vec<&str> =
        told.lines().filter(|line| !line.contains("referenced manual not found: Xr mpreg")).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_reference_to_a_page_of_ours_leads_to_one() {
    let pages = page::all();
    let mut references = 0;
    for (name, text) in &pages {
        for line in text.lines().filter_map(|line| line.strip_prefix(".Xr mpreg")) {
            let mut words = line.split_whitespace();
            let page =
                format!("mpreg{}.{}", words.next().unwrap().trim_start_matches(' '), words.next().unwrap());
            // `.Xr mpreg 1` leaves only the section.
            let page = if line.starts_with(' ') {
                format!("mpreg.{}", line.split_whitespace().next().unwrap())
            } else {
                page
            };
            assert!(pages.iter().any(|(other, _)| *other == page), "{name}: {page}");
            references += 1;
        }
    }
    assert!(references > 10, "{references}");
}
