//! Owns the reading of this workspace's files. Paths are relative to the workspace's root, and so they are shown.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Findings;

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder of the workspace").to_owned()
}

/// A file's text.
pub fn read(path: &str) -> Result<String, Findings> {
    fs::read_to_string(root().join(path)).map_err(|error| vec![format!("cannot read {path}: {error}")])
}

/// A Rust file.
pub struct RustFile {
    /// Its path from the root, with `/`.
    pub path: String,
    /// Its text up to its unit tests; files of unit tests have none.
    pub text: String,
}

/// The Rust files below a folder, without the unit tests in them, in the order of their paths.
pub fn rust_files(folder: &str) -> Result<Vec<RustFile>, Findings> {
    let mut files = Vec::new();
    collect(&root(), Path::new(folder), &mut files)
        .map_err(|error| vec![format!("cannot read the sources in {folder}: {error}")])?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<RustFile>) -> std::io::Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let path = folder.join(entry?.file_name());
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if root.join(&path).is_dir() {
            if name != "tests" {
                collect(root, &path, files)?;
            }
        } else if name.ends_with(".rs") && !is_for_tests(name) {
            let text = without_tests(&fs::read_to_string(root.join(&path))?).to_owned();
            files.push(RustFile { path: path.to_string_lossy().replace('\\', "/"), text });
        }
    }
    Ok(())
}

/// Files that are compiled for tests only.
fn is_for_tests(name: &str) -> bool {
    ["tests.rs", "testing.rs", "fake.rs"].contains(&name)
}

/// Unit tests stand last in a file.
fn without_tests(text: &str) -> &str {
    let end = text.find("\n#[cfg(test)]\nmod tests").map_or(text.len(), |at| at + 1);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unit_tests_are_cut_off_and_a_test_only_item_is_not() {
        let text = "fn a() {}\n#[cfg(test)]\nmod fake;\nfn b() {}\n\n#[cfg(test)]\nmod tests {\n    fn c() {}\n}\n";
        assert_eq!(without_tests(text), "fn a() {}\n#[cfg(test)]\nmod fake;\nfn b() {}\n\n");
        assert_eq!(without_tests("fn a() {}\n"), "fn a() {}\n");
    }
}
