//! Files that change take effect by themselves, however they are changed, and only if they say something else.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::SystemTime;

use serde_json::json;

use crate::harness::{Config, Keyweir, MockProvider, eventually, keys_yaml};

fn start(keys: &[&str]) -> (MockProvider, Keyweir) {
    let mock = MockProvider::start();
    let keyweir = Config::pool(&mock, keys).start();
    (mock, keyweir)
}

fn expect_keys(keyweir: &Keyweir, names: &[&str]) {
    eventually("the new keys", || keyweir.key_names() == names);
    eventually("the end of the reload", || {
        let last = keyweir.admin("GET", "/api/v1/reload").json();
        last["trigger"] == "file" && last["ok"] == true
    });
}

fn lines_with(keyweir: &Keyweir, text: &str) -> usize {
    keyweir.log().lines().filter(|line| line.contains(text)).count()
}

#[test]
fn a_keys_file_may_be_changed_in_every_way() {
    let (_mock, keyweir) = start(&["sk-ok-1"]);
    let (keys, backup) = (keyweir.file("keys.yaml"), keyweir.file("keys.yaml~"));
    keyweir.set_keys(&["sk-ok-2"]);
    expect_keys(&keyweir, &["ok-2"]);

    keyweir.replace("keys.yaml", &keys_yaml("p", &["sk-ok-3"]));
    expect_keys(&keyweir, &["ok-3"]);

    // As vim does: the old file steps aside, and a new one is written.
    fs::rename(&keys, &backup).unwrap();
    keyweir.set_keys(&["sk-ok-4"]);
    expect_keys(&keyweir, &["ok-4"]);

    fs::remove_file(&keys).unwrap();
    keyweir.set_keys(&["sk-ok-5"]);
    expect_keys(&keyweir, &["ok-5"]);
    assert_eq!(keyweir.chat(&json!({})).status, 200);
}

#[test]
fn a_changed_configuration_takes_effect() {
    let (_mock, keyweir) = start(&["sk-ok-1"]);
    keyweir.rewrite("provider: generic", "provider: generic, paths: [/elsewhere]");
    let models = || keyweir.send(crate::harness::request("GET", "/elsewhere/v1/models", &[], b"")).status;
    eventually("the new path", || models() == 200);
    keyweir.set_keys(&["sk-ok-2"]);
    expect_keys(&keyweir, &["ok-2"]);
}

/// Kubernetes: `keys.yaml -> ..data/keys.yaml`, `..data -> ..1`, and an update turns `..data`.
#[test]
fn a_mounted_directory_may_be_swapped() {
    let (_mock, keyweir) = start(&["sk-ok-1"]);
    let version = |name: &str, keys: &[&str]| {
        fs::create_dir(keyweir.file(name)).unwrap();
        fs::write(keyweir.file(name).join("keys.yaml"), keys_yaml("p", keys)).unwrap();
        symlink(name, keyweir.file("..data_tmp")).unwrap();
        fs::rename(keyweir.file("..data_tmp"), keyweir.file("..data")).unwrap();
    };
    version("..1", &["sk-ok-1"]);
    symlink("..data/keys.yaml", keyweir.file("link.tmp")).unwrap();
    fs::rename(keyweir.file("link.tmp"), keyweir.file("keys.yaml")).unwrap();
    for (name, old, key) in [("..2", "..1", 2), ("..3", "..2", 3), ("..4", "..3", 4)] {
        version(name, &[&format!("sk-ok-{key}")]);
        fs::remove_dir_all(keyweir.file(old)).unwrap();
        expect_keys(&keyweir, &[&format!("ok-{key}")]);
    }
    // The last line is written a moment after its keys are in use.
    eventually("three reloads", || lines_with(&keyweir, "Reloaded") >= 3);
    assert_eq!(lines_with(&keyweir, "Reloaded"), 3, "the links alone changed nothing");
}

#[test]
fn the_same_content_is_no_change() {
    let (_mock, keyweir) = start(&["sk-ok-1"]);
    let text = fs::read_to_string(keyweir.file("keys.yaml")).unwrap();
    let touched = fs::File::options().append(true).open(keyweir.file("keyweir.yaml")).unwrap();
    touched.set_modified(SystemTime::now()).unwrap();
    keyweir.write_keys(&text);
    keyweir.replace("keys.yaml", &text);
    // Whatever the above set off is over once this took effect.
    eventually("the watch", || {
        keyweir.file("keys.yaml").metadata().unwrap().modified().unwrap().elapsed().unwrap().as_millis() > 700
    });
    keyweir.set_keys(&["sk-ok-2"]);
    expect_keys(&keyweir, &["ok-2"]);
    assert_eq!(lines_with(&keyweir, "Reloaded"), 1, "{}", keyweir.log());
    keyweir.signal("HUP");
    eventually("SIGHUP always reloads", || lines_with(&keyweir, "Reloaded") == 2);
}

#[test]
fn a_bad_file_is_reported_once_and_a_repaired_one_taken() {
    let (_mock, keyweir) = start(&["sk-ok-1"]);
    let bad = "p:\n- {key: sk-ok-2, nam: x}\n";
    keyweir.write_keys(bad);
    eventually("the refusal", || keyweir.metric("keyweir_config_last_reload_successful") == 0.0);
    keyweir.replace("keys.yaml", bad);
    keyweir.write_keys(bad);
    keyweir.rewrite("provider: generic", "provider: nobody");
    let errors = || keyweir.admin("GET", "/api/v1/reload").json()["errors"].clone();
    eventually("both mistakes", || errors().as_array().is_some_and(|errors| errors.len() == 2));
    keyweir.rewrite("provider: nobody", "provider: generic");
    keyweir.set_keys(&["sk-ok-2"]);
    expect_keys(&keyweir, &["ok-2"]);
    let refusals = lines_with(&keyweir, "The reload was refused");
    assert!(refusals <= 3, "once for each change: {}", keyweir.log());
    assert_eq!(keyweir.metric("keyweir_config_last_reload_successful"), 1.0);
}

#[test]
fn a_missing_file_keeps_what_it_said_until_somebody_asks() {
    let (_mock, keyweir) = start(&["sk-ok-1"]);
    keyweir.rewrite("keys_file: keys.yaml", "keys_file: [{path: keys.yaml}, {path: more.yaml}]");
    fs::write(keyweir.file("more.yaml"), "p: [{key: sk-ok-2, name: ok-2}]\n").unwrap();
    expect_keys(&keyweir, &["ok-1", "ok-2"]);
    fs::remove_file(keyweir.file("more.yaml")).unwrap();
    eventually("the warning", || lines_with(&keyweir, "more.yaml is gone") == 1);
    assert_eq!(keyweir.key_names(), ["ok-1", "ok-2"]);
    assert_eq!(keyweir.reload()["pools"][0]["removed"], 1, "it was asked for");
    assert_eq!(keyweir.key_names(), ["ok-1"]);
}

#[test]
fn new_keys_files_are_followed_and_old_ones_are_not() {
    let (_mock, keyweir) = start(&["sk-ok-1"]);
    keyweir.rewrite("keys_file: keys.yaml", "keys_file: sub/new.yaml");
    // Refused so far: the file is not there yet, nor is its directory, and the pool would be empty.
    eventually("the refusal", || keyweir.metric("keyweir_config_last_reload_successful") == 0.0);
    fs::create_dir(keyweir.file("sub")).unwrap();
    fs::write(keyweir.file("sub/new.yaml"), keys_yaml("p", &["sk-ok-2"])).unwrap();
    expect_keys(&keyweir, &["ok-2"]);
    let reloads = lines_with(&keyweir, "Reloaded");
    keyweir.set_keys(&["sk-ok-9"]);
    keyweir.replace("sub/new.yaml", &keys_yaml("p", &["sk-ok-3"]));
    expect_keys(&keyweir, &["ok-3"]);
    eventually("the line", || lines_with(&keyweir, "Reloaded") > reloads);
    assert_eq!(lines_with(&keyweir, "Reloaded"), reloads + 1);
}
