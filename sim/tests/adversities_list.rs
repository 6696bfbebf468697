//! The list of what networks do names tests that there are.

use std::fs;
use std::path::{Path, PathBuf};

/// Where tests are, from the repository's root.
const PLACES: [&str; 7] =
    ["core/src", "core/tests", "sim/tests", "native/tests", "native/src", "pkg/test", "examples/v86/test"];

/// The text of all source files in a folder.
fn sources(folder: &Path, out: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder of the repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.extension().is_some_and(|ext| ext == "rs" || ext == "py" || ext == "mjs") {
            out.push_str(&fs::read_to_string(&path).expect("a text"));
        }
    }
}

#[test]
fn every_test_of_the_list_exists() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut text = String::new();
    for place in PLACES {
        sources(&root.join(place), &mut text);
    }
    let list = fs::read_to_string(root.join("docs/ADVERSITIES.md")).expect("the list");
    let rows = list.lines().filter(|line| line.starts_with('|'));
    let names: Vec<&str> = rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect();
    assert!(names.len() > 100, "{}", names.len());
    let is_function = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let exists = |name: &str| match is_function(name) {
        true => text.contains(&format!("fn {name}(")) || text.contains(&format!("def {name}(")),
        false => text.contains(&format!("\"{name}\"")),
    };
    let missing: Vec<&str> = names.into_iter().filter(|name| !exists(name)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
