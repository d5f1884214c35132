//! Pages under `man/`, and what is shown in them.

use std::fs;
use std::path::{Path, PathBuf};

/// Something that is shown as it is.
#[derive(Debug)]
pub struct Display {
    /// Heading of the section.
    pub section: String,
    pub text: String,
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("man")
}

/// Names and texts of all pages.
pub fn all() -> Vec<(String, String)> {
    let mut pages: Vec<(String, String)> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect();
    pages.sort();
    pages
}

/// The displays of a page; each `.Dl` is one.
pub fn displays(name: &str) -> Vec<Display> {
    let page = fs::read_to_string(folder().join(name)).unwrap();
    let (mut found, mut section, mut open): (Vec<Display>, String, Option<String>) =
        (Vec::new(), String::new(), None);
    for line in page.lines() {
        if let Some(title) = line.strip_prefix(".Sh ") {
            section = title.to_owned();
        }
        match &mut open {
            Some(_) if line == ".Ed" => {
                let text = open.take().unwrap();
                found.push(Display { section: section.clone(), text });
            }
            Some(text) => *text += &format!("{}\n", plain(line)),
            None if line.starts_with(".Bd -literal") => open = Some(String::new()),
            None => {
                if let Some(text) = line.strip_prefix(".Dl ") {
                    found.push(Display { section: section.clone(), text: plain(text) });
                }
            }
        }
    }
    assert!(open.is_none(), "{name}: a display without an end");
    found
}

/// What a reader sees of a literal line.
fn plain(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find('\\') {
        out += &rest[..at];
        rest = &rest[at..];
        if let Some(code) = rest.strip_prefix("\\[u") {
            let (digits, after) = code.split_once(']').unwrap();
            out.push(char::from_u32(u32::from_str_radix(digits, 16).unwrap()).unwrap());
            rest = after;
            continue;
        }
        let escapes = [
            ("\\-", "-"),
            ("\\e", "\\"),
            ("\\&", ""),
            ("\\(aq", "'"),
            ("\\(dq", "\""),
            ("\\(ga", "`"),
            ("\\(ha", "^"),
            ("\\(ti", "~"),
        ];
        let (escape, means) = escapes.iter().find(|(escape, _)| rest.starts_with(escape)).expect(line);
        out += means;
        rest = &rest[escape.len()..];
    }
    out + rest
}
