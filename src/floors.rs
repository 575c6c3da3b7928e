//! Imports go down only.

use std::fs;
use std::path::{Path, PathBuf};

/// Each floor, and what it must not name.
const FLOORS: [(&str, &[&str]); 3] = [
    ("binding", &[]),
    ("provider", &["napi", "crate::binding"]),
    ("media", &["napi", "tokio", "reqwest", "livekit", "std::env", "crate::binding", "crate::provider"]),
];

#[test]
fn no_floor_imports_from_above() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (floor, banned) in FLOORS {
        let files = sources(&src.join(floor));
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

/// Whether a line's path starts with `name`; a mention in a message does not count.
fn names(line: &str, name: &str) -> bool {
    line.split('"').step_by(2).any(|code| code.contains(&format!("{name}::")) || code.contains(&format!("{name}_")))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}
