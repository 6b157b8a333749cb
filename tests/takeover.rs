//! `keyweir init --from`: each older balancer's settings, keys and states arrive.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use keyweir::config::{Loaded, TokenDigest, load};

/// Where a sample was taken over to; goes away with the test.
struct New(PathBuf);

impl New {
    fn folder(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("keyweir-takeover-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }

    fn loaded(&self) -> Loaded {
        load(&self.0.join("keyweir.yaml")).unwrap()
    }

    /// `POOL: KEY KEY`, one line per pool, disabled keys in parentheses.
    fn keys(&self) -> String {
        let loaded = self.loaded();
        let pools = loaded.config.pools.iter().zip(&loaded.keys).map(|(pool, keys)| {
            let key = |key: &keyweir::config::KeySpec| match key.disabled {
                true => format!("({})", key.key.expose()),
                false => key.key.expose().to_owned(),
            };
            format!("{}: {}", pool.name, keys.iter().map(|spec| key(spec)).collect::<Vec<_>>().join(" "))
        });
        pools.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for New {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn keyweir(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keyweir")).args(arguments).output().unwrap()
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples/legacy").join(name)
}

/// Takes a sample over and checks what holds for all of them; returns what was said.
fn take_over(name: &str) -> (New, String) {
    let new = New::folder(name);
    let folder = new.0.display().to_string();
    let output = keyweir(&["init", "--from", &sample(name).display().to_string(), "--dir", &folder]);
    let (said, complaints) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!((output.status.code(), complaints.as_str()), (Some(0), ""), "{said}");
    for file in ["keyweir.yaml", "keys.yaml"] {
        let mode = std::fs::metadata(new.0.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let check = keyweir(&["check", "-c", &format!("{folder}/keyweir.yaml")]);
    assert_eq!(check.status.code(), Some(0), "{}", String::from_utf8_lossy(&check.stdout));
    assert!(!said.contains("sample-000") && !said.contains("old-admin"), "{said}");
    (new, said)
}

#[test]
fn modelscope_balancer_comes_with_its_states() {
    let (new, said) = take_over("modelscope-balancer");
    assert_eq!(new.keys(), "modelscope: ms-sample-0001 ms-sample-0002 ms-sample-0003 (ms-sample-0004)");
    let yaml = new.read("keyweir.yaml");
    assert!(yaml.contains("listen: [\"0.0.0.0:8981\"]"), "{yaml}");
    assert!(yaml.contains("{cron: \"0 0 * * *\", timezone: Asia/Shanghai}"), "{yaml}");
    let config = new.loaded().config;
    assert_eq!(config.server.admin.token.unwrap().expose(), "old-admin-token-0001");
    assert_eq!(config.clients.tokens[0].digest, TokenDigest::of(b"old-client-token-0001"));
    assert!(said.contains("1 key disabled there") && said.contains("pools.modelscope.reactivate"), "{said}");
}

#[test]
fn modelscope_balance_stays_open_but_on_this_machine_only() {
    let (new, said) = take_over("modelscope-balance");
    assert_eq!(new.keys(), "modelscope: ms-sample-0001 ms-sample-0002");
    let config = new.loaded().config;
    assert!(config.clients.anonymous);
    assert!(new.read("keyweir.yaml").contains("listen: [\"127.0.0.1:13842\"]"));
    assert!(said.contains("1 duplicate dropped"), "{said}");
    assert!(said.contains("on 127.0.0.1 only"), "{said}");
}

#[test]
fn siliconflow_lb_brings_its_file_of_keys() {
    let (new, said) = take_over("siliconflow-lb");
    assert_eq!(new.keys(), "siliconflow: sk-sample-0001 sk-sample-0002");
    let config = new.loaded().config;
    assert_eq!(config.pools[0].targets[0].host, "api.siliconflow.com");
    assert_eq!(config.server.admin.token.unwrap().expose(), "old-admin-token-0001");
    assert!(said.contains("LB_ADMIN_KEY") && said.contains("curl http://127.0.0.1:3000/v1/models"), "{said}");
}

#[test]
fn openai_balance_brings_every_provider() {
    let (new, said) = take_over("openai-balance");
    assert_eq!(new.keys(), "openai: sk-sample-0001 sk-sample-0002\ndeepseek: sk-sample-0003\nother: sk-sample-0004");
    let config = new.loaded().config;
    assert_eq!(config.default_pool.map(|index| config.pools[index].name.as_str()), Some("deepseek"));
    assert_eq!(config.pools.iter().map(|pool| pool.enabled).collect::<Vec<_>>(), [true, true, false]);
    assert_eq!(config.pools.iter().map(|pool| pool.timeouts.first_byte.as_secs()).collect::<Vec<_>>(), [300, 300, 60]);
    assert_eq!(config.pools.iter().map(|pool| pool.retry.attempts).collect::<Vec<_>>(), [3, 3, 2]);
    assert_eq!(config.clients.tokens.len(), 2);
    // The admin token was a client's too.
    assert!(config.server.admin.token.unwrap().expose().starts_with("kw-"));
    let yaml = new.read("keyweir.yaml");
    for expected in [
        "mysql://openai:p%40ss%2Fword@db.example.com:3306/balance",
        "retention: \"30d\"",
        "gpt-3.5-turbo",
        "socks5://10.0.0.3:1080",
        "every: \"30m\"",
    ] {
        assert!(yaml.contains(expected), "{expected}: {yaml}");
    }
    assert!(!said.contains("p@ss") && !said.contains("user:pass"), "{said}");
}

#[test]
fn gpt_load_brings_its_targets_and_limits() {
    let (new, said) = take_over("gpt-load");
    assert_eq!(new.keys(), "main: sk-sample-0001 sk-sample-0002 sk-sample-0003");
    let config = new.loaded().config;
    let pool = &config.pools[0];
    let targets: Vec<_> = pool.targets.iter().map(|target| (target.host.as_str(), target.path.as_str())).collect();
    assert_eq!(targets, [("gateway.example.com", "/v1/team/openai"), ("api.openai.com", "/v1")]);
    assert_eq!((pool.start_index, pool.blacklist.threshold, pool.retry.attempts), (1, 2, 4));
    assert_eq!((config.server.limits.in_flight, config.server.shutdown.grace.as_secs()), (100, 60));
    assert_eq!(config.clients.tokens[0].digest, TokenDigest::of(b"old-client-token-0001"));
    assert!(said.contains("ENABLE_GZIP") && said.contains("REQUEST_TIMEOUT"), "{said}");
}

#[test]
fn a_folder_without_such_files_is_refused() {
    let new = New::folder("nothing");
    std::fs::write(new.0.join("keys.txt"), "sk-CANARY\n").unwrap();
    let folder = new.0.display().to_string();
    let output = keyweir(&["init", "--from", &folder, "--dir", &folder]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--keys") && !said.contains("CANARY"), "{said}");
    assert!(!new.0.join("keyweir.yaml").exists());
}
