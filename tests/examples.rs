//! Every configuration shown to users is one that keyweir accepts.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails fails its test")]

use std::path::{Path, PathBuf};

use keyweir::config::{Environment, parse};

/// Stands in for whatever variables an example asks for, each with a value of its own.
struct Anything;

impl Environment for Anything {
    fn variable(&self, name: &str) -> Option<String> {
        Some(format!("example-value-of-{name}"))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

/// The fenced YAML blocks of a page.
fn blocks(page: &str) -> impl Iterator<Item = &str> {
    page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next())
}

fn accept(name: &str, text: &str) {
    if let Err(problems) = parse(text, Path::new("/nowhere/keyweir.yaml"), &Anything) {
        panic!("{name}:\n{problems}\n\n{text}");
    }
}

/// A block that has any of the configuration's sections at its top is a configuration.
fn is_configuration(text: &str) -> bool {
    let sections = ["server:", "log:", "clients:", "pools:", "keys_file:", "default_pool:"];
    text.lines().any(|line| sections.iter().any(|section| line.starts_with(section)))
}

#[test]
fn every_example_file_is_accepted() {
    let examples = files("conf", ".example.yaml");
    let configurations = examples.iter().filter(|path| !path.ends_with("keys.example.yaml"));
    for path in configurations.clone() {
        accept(&path.display().to_string(), &std::fs::read_to_string(path).unwrap());
    }
    assert!(configurations.count() >= 3);
}

#[test]
fn the_example_keys_belong_to_the_example_configuration() {
    let text = std::fs::read_to_string(root().join("conf/keyweir.example.yaml")).unwrap();
    let with_keys = text.replace("keys_file: keys.yaml", "keys_file: keys.example.yaml");
    assert_ne!(text, with_keys);
    let loaded = parse(&with_keys, &root().join("conf/keyweir.example.yaml"), &Anything).unwrap();
    assert!(loaded.keys.iter().all(|keys| !keys.is_empty()));
}

#[test]
fn every_configuration_in_the_docs_is_accepted() {
    let mut seen = 0;
    for path in ["", "docs", "docs/zh-CN"].into_iter().flat_map(|folder| files(folder, ".md")) {
        let page = std::fs::read_to_string(&path).unwrap();
        for block in blocks(&page).filter(|block| is_configuration(block)) {
            accept(&path.display().to_string(), block);
            seen += 1;
        }
    }
    assert!(seen >= 4, "{seen}");
}
