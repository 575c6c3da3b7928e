//! Imports go down only.

use std::fs;
use std::path::{Path, PathBuf};

/// Each floor, and what it must not name.
const FLOORS: [(&str, &[&str]); 4] = [
    ("src/binding", &[]),
    ("src/provider", &["napi", "binding"]),
    ("src/media", &["napi", "tokio", "reqwest", "livekit", "maravilla", "std::env", "binding", "provider"]),
    ("engine/src", &["napi", "maravilla_platform", "std::env", "binding", "provider"]),
];

#[test]
fn no_floor_imports_from_above() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (floor, banned) in FLOORS {
        let files = sources(&root.join(floor));
        assert!(!files.is_empty(), "{floor} has sources");
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                let named = banned.iter().find(|banned| names(line, banned));
                assert_eq!(named, None, "{}: {line}", file.display());
            }
        }
    }
}

/// Whether a line's code names `name`, or what begins with it and `_`; a mention in a message does not count.
fn names(line: &str, name: &str) -> bool {
    line.split('"').step_by(2).any(|code| {
        code.match_indices(name).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            let after = code[at + name.len()..].chars().next();
            !before.is_some_and(|c| c.is_alphanumeric() || c == '_') && !after.is_some_and(char::is_alphanumeric)
        })
    })
}

#[test]
fn a_name_is_found_in_each_form_of_import() {
    for line in ["use std::env;", "    std::env::var(name)", "use crate::{binding, media};", "use livekit_api::x;"] {
        assert!(["std::env", "binding", "livekit"].iter().any(|name| names(line, name)), "{line}");
    }
    assert!(!names(r#"#[error("set LIVEKIT_URL, tokio")]"#, "tokio"));
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}
