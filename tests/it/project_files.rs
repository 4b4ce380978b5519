//! The project's own files: headed by what they do, of a size that can be read.

use std::path::{Path, PathBuf};

/// Longest file of Rust, tests included.
const LINES_MAX: usize = 800;

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') && name != "mozdef-data" {
            rust_files(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_file_says_what_it_does_and_can_be_read_in_one_go() {
    let mut files = Vec::new();
    rust_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut files);
    assert!(files.len() > 50, "only {} files found", files.len());
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let lines = text.lines().count();
        assert!(text.starts_with("//!"), "{} has no module doc", file.display());
        assert!(lines <= LINES_MAX, "{} has {lines} lines, more than {LINES_MAX}", file.display());
    }
}

#[test]
fn every_shipped_sample_is_played_and_described() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples");
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let demo = std::fs::read_to_string(folder.join("../cli/src/commands/demo.rs")).unwrap();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        assert!(name == "README.md" || readme.contains(&name) && demo.contains(&name), "{name}");
    }
}
