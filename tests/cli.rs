//! The command line keeps its promises: exit statuses, streams, files.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of its own that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("keyweir-cli-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn run(&self, line: &str) -> Output {
        keyweir(&self.0, line)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn keyweir(folder: &Path, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keyweir"));
    command.args(line.split_whitespace()).current_dir(folder).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn check_names_every_mistake_on_stdout_and_exits_1() {
    let folder = Folder::new("check");
    folder.file("keyweir.yaml", "pools:\n  openai:\n    provider: opnai\n    retry: {attempts: 0}\n");
    folder.file("keys.yaml", "openai:\n  - \"sk-CANARY one\"\n");
    for line in ["check -c keyweir.yaml", "check", "-t", "run -c keyweir.yaml -t"] {
        let output = folder.run(line);
        assert_eq!(
            out(&output),
            "keyweir.yaml:3:15: pools.openai.provider: unknown provider; did you mean openai?\n\
             keyweir.yaml:4:23: pools.openai.retry.attempts: must be a whole number from 1 to 1000\n\
             keys.yaml:2:5: openai[0]: contains a space; a key is visible ASCII characters without spaces\n"
        );
        assert_eq!((err(&output).as_str(), code(&output)), ("3 mistakes found\n", 1));
    }
    let json: serde_json::Value = serde_json::from_str(&out(&folder.run("check --format json"))).unwrap();
    assert_eq!(json[2]["file"], "keys.yaml");
    assert_eq!((&json[0]["line"], &json[0]["column"], &json[0]["severity"]), (&3.into(), &15.into(), &"error".into()));
}

#[test]
fn check_print_shows_what_holds_without_secrets() {
    let folder = Folder::new("print");
    folder.file(
        "keyweir.yaml",
        "pools: {openai: {provider: openai}}\nclients: {tokens: [{name: ci, token: kw-CANARY-0123456789}]}\n",
    );
    let output = folder.run("check --print");
    assert_eq!(code(&output), 0);
    assert!(out(&output).contains("url: https://api.openai.com/v1") && out(&output).contains("deadline: 2m30s"));
    assert!(!out(&output).contains("CANARY") && out(&output).contains("[redacted]"));
    assert_eq!(err(&output), "keys.yaml:1:1: file: warning: does not exist; there are no keys from it\n");
}

#[test]
fn init_writes_private_files_that_pass_check() {
    let folder = Folder::new("init");
    folder.file("mine.txt", "# mine\nsk-1\nsk-$2\n");
    let output = folder.run("init --provider siliconflow --keys mine.txt --dir new");
    assert_eq!(code(&output), 0, "{}", err(&output));
    for name in ["new/keyweir.yaml", "new/keys.yaml"] {
        let mode = std::fs::metadata(folder.0.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let said = out(&output);
    let token = said.lines().find_map(|line| line.strip_prefix("Client token: ")).unwrap();
    assert!(token.starts_with("kw-") && token.len() == 35);
    assert!(folder.read("new/keyweir.yaml").contains(token));
    assert!(said.contains(&format!("curl http://127.0.0.1:8080/v1/models -H \"Authorization: Bearer {token}\"")));
    let check = folder.run("check -c new/keyweir.yaml");
    assert_eq!((code(&check), err(&check).as_str()), (0, "new/keyweir.yaml: fine (1 pool, 2 keys)\n"));
    assert_eq!(out(&check), "");
}

#[test]
fn init_never_overwrites() {
    let folder = Folder::new("again");
    folder.file("keys.yaml", "precious");
    let output = folder.run("init --provider openai");
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("keys.yaml exists already"), "{}", err(&output));
    assert_eq!(folder.read("keys.yaml"), "precious");
    assert!(!folder.0.join("keyweir.yaml").exists());
}

#[test]
fn every_provider_can_be_the_first() {
    for pack in keyweir::verdict::pack::PACKS.iter() {
        let folder = Folder::new(&pack.name);
        assert_eq!(code(&folder.run(&format!("init --provider {}", pack.name))), 0, "{}", pack.name);
        let check = folder.run("check");
        assert_eq!((code(&check), out(&check).as_str()), (0, ""), "{}", pack.name);
    }
}

#[test]
fn wrong_usage_exits_2() {
    let folder = Folder::new("usage");
    for line in ["chekc", "check --nope", "init --provider nosuch", "init --from old", "mock", "completions nosuch"] {
        let output = folder.run(line);
        assert_eq!((code(&output), out(&output).as_str()), (2, ""), "{line}");
        assert!(!err(&output).is_empty(), "{line}");
    }
}

#[test]
fn what_is_asked_for_goes_to_stdout() {
    let folder = Folder::new("stdout");
    for (line, expected) in [
        ("--version", "Pingora 0.9.1"),
        ("--help", "healthcheck"),
        ("completions bash", "_keyweir()"),
        ("man", ".SH \"KEYWEIR CHECK\""),
    ] {
        let output = folder.run(line);
        assert_eq!((code(&output), err(&output).as_str()), (0, ""), "{line}");
        assert!(out(&output).contains(expected), "{line}: {}", out(&output));
    }
    let schema: serde_json::Value = serde_json::from_str(&out(&folder.run("schema"))).unwrap();
    assert_eq!(schema["properties"]["default_pool"]["type"], serde_json::json!(["string", "null"]));
}
