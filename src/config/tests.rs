//! What users are told about their files.

mod keys;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::*;

/// A folder of its own that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("keyweir-config-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn shown(&self, text: impl ToString) -> String {
        text.to_string().replace(&format!("{}/", self.0.display()), "")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

const NOWHERE: &str = "/nowhere";

fn read(text: &str) -> Result<Loaded, String> {
    let env = HashMap::from([("N", "2"), ("TOKEN", "kw-0123456789abcdef"), ("EMPTY", ""), ("ADDR", "127.0.0.1:1")]);
    parse(text, &Path::new(NOWHERE).join("f.yaml"), &env)
        .map_err(|problems| problems.to_string().replace(&format!("{NOWHERE}/"), ""))
}

/// All mistakes, one per line.
fn mistakes(text: &str) -> String {
    read(text).err().unwrap_or_else(|| panic!("accepted: {text}"))
}

fn warnings(loaded: &Loaded) -> String {
    let own = loaded.warnings.iter().filter(|warning| !warning.message.contains("does not exist"));
    own.map(|warning| warning.to_string().replace(&format!("{NOWHERE}/"), "")).collect::<Vec<_>>().join("\n")
}

#[test]
fn four_lines_are_enough() {
    let loaded = read("pools:\n  modelscope:\n    provider: modelscope\nkeys_file: keys.yaml\n").unwrap();
    let pool = &loaded.config.pools[0];
    assert_eq!(pool.targets[0].authority(), "api-inference.modelscope.cn");
    assert_eq!((pool.targets[0].path.as_str(), pool.paths.as_slice()), ("/v1", &["/modelscope".to_owned()][..]));
    assert_eq!(loaded.config.default_pool, Some(0));
    assert_eq!(pool.retry.deadline, std::time::Duration::from_secs(150));
    let missing = loaded.warnings[0].to_string();
    assert_eq!(missing, "/nowhere/keys.yaml:1:1: file: warning: does not exist; there are no keys from it");
}

#[test]
fn nothing_at_all_is_a_configuration() {
    for text in ["", "# only a comment\n", "pools: {}\n", "server:\nclients: ~\n"] {
        assert!(read(text).unwrap().config.pools.is_empty(), "{text}");
    }
}

/// Each wrong file and exactly what is said about it.
const TABLE: &[(&str, &str)] = &[
    (
        "- a\n",
        "f.yaml:1:1: file: must be a mapping with clients, default_pool, keys_file, log, notify, otlp, pools, server, shared_state or store, not a list",
    ),
    ("pools: {a: {providr: modelscope}}\n", "f.yaml:1:13: pools.a.providr: unknown field; did you mean provider?"),
    (
        "server: {lmits: {}}\nlgo: {}\n",
        "f.yaml:1:10: server.lmits: unknown field; did you mean limits?\nf.yaml:2:1: lgo: unknown field; did you mean log?",
    ),
    ("log: {zzzzzz: 1}\n", "f.yaml:1:7: log.zzzzzz: unknown field; write access, format or level"),
    (
        "pools:\n  a: 5\n",
        "f.yaml:2:6: pools.a: must be a mapping with balance, blacklist, budget, egress, egress_check, enabled, fallback, headers, metrics, models, paths, prices, priority, probe, provider, reactivate, retry, routes, rules, select, targets, timeouts or wait, not a single value",
    ),
    (
        "server: {limits: {body: big, header_timeout: 10, keepalive: 1w}}\n",
        "f.yaml:1:25: server.limits.body: not a size; write bytes or a number with a unit, e.g. 64KiB or 32MiB\nf.yaml:1:46: server.limits.header_timeout: a duration needs a unit (ms, s, m, h, d), e.g. 30s or 1h30m\nf.yaml:1:61: server.limits.keepalive: not a duration; write numbers with units (ms, s, m, h, d), e.g. 30s or 1h30m",
    ),
    ("server: {threads: many}\n", "f.yaml:1:19: server.threads: must be auto or a whole number from 1 to 1024"),
    ("server: {threads: 0}\n", "f.yaml:1:19: server.threads: must be auto or a whole number from 1 to 1024"),
    (
        "server: {limits: {in_flight: \"5\", connections: -1}}\n",
        "f.yaml:1:30: server.limits.in_flight: must be a whole number from 1 to 4294967295, without quotes\nf.yaml:1:48: server.limits.connections: must be a whole number from 1 to 4294967295",
    ),
    ("clients: {anonymous: yes}\n", "f.yaml:1:22: clients.anonymous: must be true or false"),
    (
        "clients: {tokens: [{name: ci}]}\n",
        "f.yaml:1:20: clients.tokens[0].token: is missing; write text, or a mapping with credential or file",
    ),
    (
        "clients: {tokens: [{name: ci, token: \"${MISSING}\"}]}\n",
        "f.yaml:1:38: clients.tokens[0].token: the environment variable MISSING is not set; set it or write ${MISSING:-default}",
    ),
    ("clients:\n  tokens:\n    -\n", "f.yaml:3:6: clients.tokens[0]: is empty; write a value or remove the dash"),
    (
        "log: {level: infos, access: \"\"}\n",
        "f.yaml:1:14: log.level: unknown value; did you mean info?\nf.yaml:1:29: log.access: write stdout, off or a file's path",
    ),
    ("log: {level: info}\nlog: {level: warn}\n", "f.yaml:2:1: log: written twice, first on line 1; remove one"),
    (
        "server: {threads: \"${MISSING}\"}\n",
        "f.yaml:1:19: server.threads: the environment variable MISSING is not set; set it or write ${MISSING:-default}",
    ),
    (
        "server: {threads: \"${EMPTY}\"}\n",
        "f.yaml:1:19: server.threads: the environment variable EMPTY is not set; set it or write ${EMPTY:-default}",
    ),
    (
        "pools: {a: {provider: modelscop}}\n",
        "f.yaml:1:23: pools.a.provider: unknown provider; did you mean modelscope?",
    ),
    (
        "pools: {a: {}}\n",
        "f.yaml:1:12: pools.a.targets: provider generic has no base URL of its own; write targets: [{url: \"https://HOST/v1\"}]",
    ),
    (
        "pools: {a: {targets: [ftp://x, {url: \"https://u:p@h/v1\"}]}}\n",
        "f.yaml:1:23: pools.a.targets[0]: must begin with https:// or http://\nf.yaml:1:38: pools.a.targets[1].url: a base URL has no user or password; the key belongs in the keys file",
    ),
    (
        "pools: {V1: {provider: openai}, chat: {provider: openai}}\n",
        "f.yaml:1:13: pools.V1: not a pool's name; write lower-case letters, digits and dashes, e.g. modelscope-2\nf.yaml:1:39: pools.chat: chat is a path of keyweir's own; call the pool e.g. chat-pool",
    ),
    (
        "pools: {a: {provider: openai, paths: [/x/]}, b: {provider: openai, paths: [y, /x]}}\ndefault_pool: a\n",
        "f.yaml:1:76: pools.b.paths[0]: must begin with /, e.g. /modelscope\nf.yaml:1:79: pools.b.paths[1]: the path /x belongs to pool a already; give one of them other paths",
    ),
    (
        "pools: {alpha: {provider: openai}}\ndefault_pool: alpah\n",
        "f.yaml:2:15: default_pool: no such pool; did you mean alpha?",
    ),
    (
        "pools: {a: {provider: openai, retry: {attempts: 5, key_attempts: 4}}}\n",
        "f.yaml:1:66: pools.a.retry.key_attempts: must be at least attempts (5)",
    ),
    (
        "pools: {a: {provider: openai, blacklist: {threshold: 0, on_5xx: keys}}}\n",
        "f.yaml:1:54: pools.a.blacklist.threshold: must be a whole number from 1 to 1000\nf.yaml:1:65: pools.a.blacklist.on_5xx: unknown value; did you mean key?",
    ),
    (
        "pools: {a: {provider: openai, timeouts: {connect: 0s}}}\n",
        "f.yaml:1:51: pools.a.timeouts.connect: must be longer than 0s",
    ),
    (
        "pools: {a: {provider: openai, headers: {Host: x, \"a b\": y, x-ok: \"a\\nb\"}}}\n",
        "f.yaml:1:47: pools.a.headers.Host: this header is set by keyweir itself; remove it\nf.yaml:1:57: pools.a.headers.a b: not a header's name; write letters, digits and dashes\nf.yaml:1:66: pools.a.headers.x-ok: not a header's value; write visible ASCII characters in one line",
    ),
    (
        "server: {limits: {buffer: 64MiB}}\n",
        "f.yaml:1:27: server.limits.buffer: larger than body (32MiB); lower it or raise body",
    ),
    (
        "server: {proxy: {listen: [localhost, \"127.0.0.1:8082\"]}}\n",
        "f.yaml:1:9: server.metrics.listen: server.proxy has this address already; write another\nf.yaml:1:27: server.proxy.listen[0]: not an address; write IP:PORT, e.g. 127.0.0.1:8080 or [::1]:8080, or unix:PATH",
    ),
    (
        "server: {proxy: {listen: \"0.0.0.0:8080\"}}\nclients: {anonymous: true}\n",
        "f.yaml:2:22: clients.anonymous: would let everyone who reaches the port use the keys; listen on 127.0.0.1, or add insecure: true",
    ),
    (
        "server:\n  admin: {listen: \"0.0.0.0:8081\"}\n",
        "f.yaml:2:10: server.admin: an admin listener that others reach needs a configured token; set token, or listen on 127.0.0.1\nf.yaml:2:10: server.admin: an admin listener that others reach needs TLS ({address, tls}) or plaintext: true",
    ),
    (
        "server: {proxy: {listen: [{address: \"127.0.0.1:8443\", tls: {cert: no.pem, key: no.key}}]}}\n",
        "f.yaml:1:67: server.proxy.listen[0].tls.cert: cannot read no.pem: No such file or directory (os error 2)\nf.yaml:1:80: server.proxy.listen[0].tls.key: cannot read no.key: No such file or directory (os error 2)",
    ),
    (
        "server: {proxy: {cors: {origins: [\"*\", \"https://a\"]}, trusted_proxies: [10.0.0.0/8, here]}}\n",
        "f.yaml:1:35: server.proxy.cors.origins[0]: not an origin; write e.g. https://chat.example.com, or [\"*\"] alone\nf.yaml:1:85: server.proxy.trusted_proxies[1]: not a network; write e.g. 10.0.0.0/8 or 192.0.2.7",
    ),
    (
        "clients:\n  tokens:\n  - {name: a, token: \"${TOKEN}\"}\n  - {name: a, token: \"${TOKEN}\"}\n",
        "f.yaml:4:12: clients.tokens[1].name: another token has this name; names are unique\nf.yaml:4:22: clients.tokens[1].token: the same token as clients.tokens[0]; each client needs its own",
    ),
    (
        "clients: {tokens: [{name: a, token: \"${TOKEN}\", pools: [b], models: [\"q[\", \"\"], rpm: 0, expires: 2027-13-01}]}\npools: {a: {provider: openai}}\n",
        "f.yaml:1:57: clients.tokens[0].pools[0]: no such pool; did you mean a?\nf.yaml:1:70: clients.tokens[0].models[0]: not a glob; write a model's name, or e.g. qwen*\nf.yaml:1:76: clients.tokens[0].models[1]: not a glob; write a model's name, or e.g. qwen*\nf.yaml:1:86: clients.tokens[0].rpm: must be a whole number, at least 1\nf.yaml:1:98: clients.tokens[0].expires: not a date; write e.g. 2027-01-01 or 2027-01-01T12:00:00+08:00",
    ),
    (
        "pools: {a: {provider: openai, models: {deny: [\"q[\", \"\"], alias: {a: a, b: \"\"}, test: \" \"}}}\n",
        "f.yaml:1:47: pools.a.models.deny[0]: not a glob; write a model's name, or e.g. qwen*\nf.yaml:1:53: pools.a.models.deny[1]: not a glob; write a model's name, or e.g. qwen*\nf.yaml:1:69: pools.a.models.alias.a: stands for itself; write the provider's model it stands for\nf.yaml:1:75: pools.a.models.alias.b: is empty; write a name and the provider's model it stands for, e.g. fast: Qwen/Qwen3-8B\nf.yaml:1:86: pools.a.models.test: is empty; write a name, or remove it",
    ),
    (
        "server: {admin: {token: \"${TOKEN}\"}}\nclients: {tokens: [{name: a, token: \"${TOKEN}\"}]}\n",
        "f.yaml:2:37: clients.tokens[0].token: the same as the admin token; a client must not be an administrator",
    ),
    (
        "clients: {tokens: [{name: a, token: \"\"}, {name: b, token: a b}, {name: c, token: {file: no}}, {name: d, token: {}}]}\n",
        "f.yaml:1:37: clients.tokens[0].token: is empty; write the token, ${VARIABLE} or {file: PATH}\nf.yaml:1:59: clients.tokens[1].token: a token is visible ASCII characters without spaces\nf.yaml:1:82: clients.tokens[2].token: cannot read no: No such file or directory (os error 2)\nf.yaml:1:112: clients.tokens[3].token: write either {file: PATH} or {credential: NAME}",
    ),
    (
        "clients: {tokens: [{name: a, token: {credential: t}}]}\n",
        "f.yaml:1:50: clients.tokens[0].token.credential: $CREDENTIALS_DIRECTORY is not set; start by systemd with LoadCredential=, or use {file: PATH}",
    ),
    (
        "keys_file: [{path: k.txt, pool: b}]\npools: {a: {provider: openai}}\n",
        "f.yaml:1:33: keys_file[0].pool: no such pool; did you mean a?",
    ),
    (
        "shared_state: {url: \"redis://h\"}\npools: {a: {provider: openai, wait: {max: 5s}, select: {strategy: random}}}\n",
        "f.yaml:1:15: shared_state: not built yet; remove it\nf.yaml:2:43: pools.a.wait.max: not built yet; remove it\nf.yaml:2:67: pools.a.select.strategy: not built yet; remove it",
    ),
    ("log: &x {<<: *x}\n", "f.yaml:1:14: syntax: this alias stands inside its own anchor"),
    (
        "log: &l {level: info}\nserver: {<<: *l}\n",
        "f.yaml:2:10: server.<<: merge keys (<<) are not supported; repeat the fields",
    ),
];

#[test]
fn every_mistake_is_named_with_its_place() {
    for (text, expected) in TABLE {
        let said = mistakes(text).replace("cannot read /nowhere/", "cannot read ");
        assert_eq!(said, *expected, "\n--- for\n{text}");
    }
}

#[test]
fn mistakes_of_all_kinds_are_named_in_one_run() {
    let text = "\
log: {level: loud}
default_pool: nope
pools:
  a:
    provider: openai
    retrys: {}
    retry: {attempts: 0}
  b:
    provider: openai
    paths: [/a]
    budget: 5
";
    assert_eq!(
        mistakes(text),
        "f.yaml:1:14: log.level: unknown value; write off, error, warn, info, debug or trace\n\
         f.yaml:2:15: default_pool: no such pool; write a or b\n\
         f.yaml:6:5: pools.a.retrys: unknown field; did you mean retry?\n\
         f.yaml:7:23: pools.a.retry.attempts: must be a whole number from 1 to 1000\n\
         f.yaml:10:13: pools.b.paths[0]: the path /a belongs to pool a already; give one of them other paths\n\
         f.yaml:11:13: pools.b.budget: not built yet; remove it"
    );
}

#[test]
fn a_syntax_error_has_a_position_and_what_stands_before_is_judged() {
    let said = mistakes("lgo: {}\npools: {a: {provider: openai}\nserver: }\n");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "f.yaml:1:1: lgo: unknown field; did you mean log?");
    assert!(lines[1].starts_with("f.yaml:3:") && lines[1].contains(": syntax: not YAML: "), "{said}");
}

#[test]
fn variables_fill_fields_of_every_type() {
    let text = "\
server:
  threads: \"${N:-1}\"
  proxy: {listen: [\"${ADDR}\"]}
  limits: {in_flight: \"${FLIGHT:-7}\", keepalive: \"${KEEP:-20s}\", body: \"${BODY:-1MiB}\"}
  admin: {token: \"${EMPTY:-}\"}
clients: {anonymous: \"${ANON:-true}\", tokens: [{name: \"$${N}\", token: \"${TOKEN}\"}]}
";
    let config = read(text).unwrap().config;
    assert_eq!((config.server.threads, config.server.limits.in_flight), (2, 7));
    assert_eq!((config.server.limits.body, config.server.limits.buffer), (1 << 20, 1 << 20));
    assert!(config.clients.anonymous && config.server.admin.token.is_none());
    assert_eq!(config.clients.tokens[0].name, "${N}");
    assert_eq!(config.clients.tokens[0].digest, TokenDigest::of(b"kw-0123456789abcdef"));
}

#[test]
fn secrets_come_from_files_and_credentials() {
    let folder = Folder::new("secrets");
    folder.file("token", "kw-from-a-file-0123\n");
    folder.file("credential", "kw-from-systemd-0123\r\n");
    let here = folder.0.display().to_string();
    let env = HashMap::from([("CREDENTIALS_DIRECTORY", here.as_str())]);
    let text =
        "server: {admin: {token: {credential: credential}}}\nclients: {tokens: [{name: a, token: {file: token}}]}\n";
    let config = parse(text, &folder.0.join("f.yaml"), &env).unwrap().config;
    assert_eq!(config.server.admin.token.unwrap().expose(), "kw-from-systemd-0123");
    assert_eq!(config.clients.tokens[0].digest, TokenDigest::of(b"kw-from-a-file-0123"));
}

#[test]
fn what_has_no_effect_is_said() {
    let text = "\
store: {url: \"mysql://u:p@h/db\", retention: 168h}
notify: [{type: slack, url: \"https://hooks\"}]
clients: {tokens: [{name: a, token: short}]}
pools:
  a: {provider: openai, priority: 1, balance: {every: 5m}}
  b: {provider: openai}
";
    assert_eq!(
        warnings(&read(text).unwrap()),
        "f.yaml:1:1: default_pool: warning: not set while there are several pools: unprefixed paths such as /v1/models are 404\n\
         f.yaml:2:9: notify: warning: has no effect yet\n\
         f.yaml:3:37: clients.tokens[0].token: warning: shorter than 16 characters; short tokens can be guessed; make one e.g. with `openssl rand -hex 24`\n\
         f.yaml:5:35: pools.a.priority: warning: has no effect yet"
    );
}

#[test]
fn operators_have_names_and_tokens_of_their_own() {
    let users = "server: {admin: {token: an-admin-token-of-24, users: [{name: vera, token: a-token-of-vera-s}, \
                 {name: otto, token: a-token-of-otto-s, role: operator}]}}\n";
    let admin = read(users).unwrap().config.server.admin;
    let shown: Vec<_> = admin.users.iter().map(|user| (user.name.as_str(), user.role.as_str())).collect();
    assert_eq!(shown, [("vera", "viewer"), ("otto", "operator")]);
    for (from, to, mistake) in [
        ("otto, token", "vera, token", "server.admin.users[1].name: another user has this name; names are unique"),
        (
            "otto, token",
            "admin, token",
            "server.admin.users[1].name: admin is whoever has the admin token; write another name",
        ),
        (
            "token-of-otto",
            "token-of-vera",
            "server.admin.users[1].token: the same token as vera's; each user needs its own",
        ),
        (
            "a-token-of-otto-s",
            "an-admin-token-of-24",
            "server.admin.users[1].token: the same token as admin's; each user needs its own",
        ),
        ("name: otto", "name: \"\"", "server.admin.users[1].name: must not be empty or contain control characters"),
        (
            "a-token-of-otto-s",
            "\"\"",
            "server.admin.users[1].token: is empty; write the token, ${VARIABLE} or {file: PATH}",
        ),
    ] {
        let said = mistakes(&users.replace(from, to));
        assert_eq!(said.split_once(": ").map(|(_, said)| said), Some(mistake), "{said}");
    }
    let said = mistakes(&format!("{users}clients: {{tokens: [{{name: c, token: a-token-of-vera-s}}]}}\n"));
    assert!(said.contains("clients.tokens[0].token: the same as the token of server.admin.users' vera"), "{said}");
    assert!(mistakes(&users.replace("operator", "root")).contains("server.admin.users[1].role"));
}

#[test]
fn restrictions_that_are_not_kept_are_refused() {
    let refused = |text: &str| {
        let said = mistakes(text);
        assert!(said.lines().all(|line| line.ends_with(": not built yet; remove it")), "{said}");
        said.lines().filter_map(|line| line.split(": ").nth(1)).map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    let server = "server: {limits: {connections_per_ip: 9}}\n";
    assert_eq!(refused(server), "server.limits.connections_per_ip");
    let pool = "pools: {a: {provider: openai, fallback: [b], budget: 1}}\n";
    assert_eq!(refused(pool), "pools.a.fallback pools.a.budget");
}

#[test]
fn what_a_budget_does_not_bound_is_told() {
    let text = "\
clients: {tokens: [{name: ci, token: \"${TOKEN}\", budget: 5, models: [known, fast, other, \"x*\"]}]}
pools:
  a: {provider: openai, prices: {known: {input: 1}}, models: {alias: {fast: slow}}}
  b: {provider: openai}
default_pool: a
";
    let said: Vec<String> = read(text).unwrap().warnings.iter().map(ToString::to_string).collect();
    let said = said.join("\n");
    for part in [
        "clients.tokens[0].budget: warning: pool b has no prices",
        "clients.tokens[0].models[1]: warning: has no price in pool a",
        "clients.tokens[0].models[2]: warning: has no price in pool a",
        "pools.a.models.alias.fast: warning: slow has no price",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    assert!(!said.contains("models[0]") && !said.contains("models[3]"), "{said}");
    for wrong in ["0", "-1", "{amount: .nan}", "{amount: 5, per: week}"] {
        assert!(mistakes(&text.replace("budget: 5", &format!("budget: {wrong}"))).contains("budget"), "{wrong}");
    }
    assert!(mistakes(&text.replace("input: 1", "input: -1")).contains("pools.a.prices.known.input"));
}

/// Every field with its default.
const EVERYTHING: &str = include_str!("tests/everything.yaml");

#[test]
fn every_field_is_known_and_its_default_is_the_documented_one() {
    let loaded = read(EVERYTHING).unwrap();
    assert_eq!(warnings(&loaded), "");
    let bare =
        read("pools: {modelscope: {provider: modelscope}}\nclients: {tokens: [{name: ci, token: \"${TOKEN}\"}]}\n");
    assert_eq!(loaded.to_yaml(), bare.unwrap().to_yaml());
}

#[test]
fn what_is_printed_is_a_configuration_and_holds_no_secret() {
    let text = "\
server: {admin: {token: CANARY-admin-token}, metrics: {token: CANARY-metrics-token}}
store: {url: \"postgres://CANARY:CANARY@host/db\"}
clients: {tokens: [{name: a, token: CANARY-client-token}]}
pools: {a: {provider: openai, headers: {x-extra: CANARY}}}
";
    let printed = read(text).unwrap().to_yaml();
    assert!(!printed.contains("CANARY"), "{printed}");
    assert!(printed.contains("attempts: 3") && printed.contains("https://api.openai.com/v1"), "{printed}");
    let again = printed.replacen("[redacted]", "kw-other-than-the-rest", 1);
    assert!(read(&again).is_ok(), "{printed}");
}

#[test]
fn no_message_repeats_a_secret() {
    let secret = "sk-CANARY-0123456789";
    for template in [
        "clients: {tokens: [KEY]}",
        "clients: {tokens: {KEY: 1}}",
        "clients: {tokens: [{KEY: 1}]}",
        "clients: {tokens: [{name: a, token: [KEY]}]}",
        "clients: {tokens: [{name: a, token: \"KEY KEY\"}]}",
        "clients: {tokens: [{name: a, token: {KEY: 1}}]}",
        "clients: {tokens: KEY}",
        "server: {threads: KEY, admin: {listen: KEY, plaintext: KEY}}",
        "server: {limits: {body: KEY, keepalive: KEY}}",
        "log: {level: KEY}",
        "KEY: KEY",
        "KEY",
        "- KEY",
        "pools: {a: {provider: KEY, targets: [KEY, {url: KEY}], paths: [KEY], headers: {x: \"KEY\\n\"}}}",
        "pools: {a: {provider: openai, egress: [KEY], reactivate: KEY}}",
        "a: *KEY",
        "a: [KEY",
        "a: !KEY KEY",
        "a: \"${KEY}\"",
        "a: \"${KEY\"",
        "? KEY\n: KEY\n? KEY\n: KEY",
        "%KEY\n---\na: KEY",
    ] {
        let said = mistakes(&template.replace("KEY", secret));
        assert!(!said.contains("CANARY"), "{template}: {said}");
    }
}

#[test]
fn broken_files_never_panic() {
    // A fixed linear congruential generator: the same mutations in every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let pieces: [&[u8]; 14] = [
        b"\n",
        b": ",
        b"- ",
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b"&a ",
        b"*a",
        b"${",
        b"\t",
        b"\xc3\xa9",
        b"9999999999999999999",
    ];
    for _ in 0..1500 {
        let mut bytes = EVERYTHING.as_bytes().to_vec();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            match random(3) {
                0 => drop(bytes.drain(at..(at + random(20)).min(bytes.len()))),
                1 => drop(bytes.splice(at..at, pieces[random(pieces.len())].iter().copied())),
                _ => bytes[at] = (32 + random(95)) as u8,
            }
        }
        // Whatever comes of it: an answer.
        drop(read(&String::from_utf8_lossy(&bytes)));
    }
}

#[test]
fn the_schema_covers_the_example() {
    let schema = json_schema();
    let pool = &schema["$defs"]["Pool"]["properties"];
    assert_eq!(pool["provider"]["default"], "generic");
    assert_eq!(schema["$defs"]["Pool"]["additionalProperties"], false);
}

#[test]
fn the_reference_in_docs_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written == reference(), "run `keyweir schema --markdown > docs/configuration.md`");
}

#[test]
fn rules_are_judged_field_by_field() {
    let text = "\
pools:
  a:
    provider: openai
    rules:
      mode: shadow
      list:
        - {id: Bad Id, key: keep, retry: none}
        - {id: b, key: keep, retry: none, rest: 5s}
        - id: c
          key: cooldown
          retry: other_key
          until: [sometime]
        - id: d
          status: [429, 9xx]
          when: [{message: \"(\"}, {headers: {\"a b\": x}}, {}]
          key: cooldown
          zone: Nowhere/City
          retry: other_key
";
    let said = mistakes(text);
    assert!(said.contains("f.yaml:12:19: pools.a.rules.list[2].until[0]: unknown value"), "{said}");
    assert!(said.contains("f.yaml:14:25: pools.a.rules.list[3].status[1]: must be"), "{said}");
    let text = text.replace("sometime", "stated").replace(", 9xx", "");
    let said = mistakes(&text);
    for line in [
        "f.yaml:7:16: pools.a.rules.list[0].id: must be lower-case letters, digits and dashes, e.g. my-gateway-full",
        "f.yaml:8:49: pools.a.rules.list[1].rest: only a cooldown has an end; remove it, or write key: cooldown",
        "f.yaml:15:28: pools.a.rules.list[3].when[0].message: not a regular expression: unclosed group",
        "f.yaml:17:17: pools.a.rules.list[3].zone: no such time zone; write an IANA name such as Asia/Shanghai",
    ] {
        assert!(said.contains(line), "{line}\n--- not in\n{said}");
    }
    assert!(said.contains("when[1].headers") && said.contains("matches everything"), "{said}");
    let twice = "pools: {a: {provider: openai, rules: {list: [{id: x, key: keep, retry: none}, {id: x, key: keep, retry: none}]}}}";
    assert!(mistakes(twice).contains("list[1].id: used by an earlier rule"), "{}", mistakes(twice));
}
