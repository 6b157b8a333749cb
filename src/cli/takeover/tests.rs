//! Whatever an old file says, what becomes of it is YAML and gives nothing away.

use proptest::prelude::*;

use super::*;
use crate::config::{Process, parse};

const NAMES: &[&str] = &[
    "PORT",
    "HOST",
    "LB_API_KEY",
    "SILICONFLOW_API_KEY_1",
    "SILICONFLOW_BASE_URL",
    "API_KEYS",
    "ALLOWED_TOKENS",
    "AUTH_TOKEN",
    "AUTH_KEY",
    "BASE_URL",
    "OPENAI_BASE_URL",
    "PROVIDERS_CONFIG",
    "DEFAULT_PROVIDER",
    "MAX_RETRIES",
    "TIME_OUT",
    "PROXIES",
    "PROXY_AUTO_CHECK_ENABLED",
    "PROXY_CHECK_INTERVAL_HOURS",
    "MODEL_REQUEST_KEY",
    "FILTERED_MODELS",
    "START_INDEX",
    "LOG_LEVEL",
    "server_address",
    "api_token",
    "api_keys",
    "auto_reactivation.mode",
    "auto_reactivation.cron_spec",
];
const VALUES: &[&str] = &[
    "",
    "0",
    "-1",
    "99999999999",
    "1e99",
    "true",
    "CANARY-0123456789",
    "\"CANARY-0123456789\"",
    "[\"CANARY-0123456789\", \"$x\"]",
    "[{\"name\": \"v1\", \"base_url\": \"x\", \"api_keys\": [\"CANARY-0123456789\"], \"timeout\": 0}]",
    "[{}]",
    "https://api.example.com/v1,https://u:p@h/",
    "\u{1b}[2J",
    "é: 'x'",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_set_becomes_yaml_and_gives_nothing_away(
        pairs in proptest::collection::vec((proptest::sample::select(NAMES), proptest::sample::select(VALUES)), 0..12),
    ) {
        let text: String = pairs.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        let folder = || Folder { path: PathBuf::from("/nowhere"), read: Vec::new() };
        let settings = || Settings::of_env(&text);
        for taken in [
            openai_balance::convert(settings(), &text, folder()),
            siliconflow_lb::convert(settings(), &text, folder()),
            gpt_load::convert(settings(), folder()),
            modelscope_balancer::convert(&text, folder()),
            modelscope_balance::convert(&text, folder()),
        ] {
            let taken = taken.unwrap();
            prop_assert!(!taken.report().contains("CANARY"), "{}", taken.report());
            let config = taken.config();
            if let Err(problems) = parse(&config, Path::new("/nowhere/f.yaml"), &Process) {
                let text = problems.to_string();
                prop_assert!(!text.contains("syntax:") && !text.contains("unknown field"), "{text}\n{config}");
            }
        }
    }
}

#[test]
fn pools_get_names_that_may_be_paths() {
    assert_eq!(pool_name("DeepSeek (free)"), "deepseek--free");
    assert_eq!(pool_name("///"), "main");
}

#[test]
fn settings_are_taken_once_and_the_rest_is_known() {
    let mut settings = Settings::of_env("A=1\nL=[\"x\", \"y\"]\nM=x, y\nE=\nZ=z\n");
    assert_eq!((settings.number("A"), settings.number("A")), (Some(1), None));
    assert_eq!((settings.list("L"), settings.list("M")), (vec!["x".into(), "y".into()], vec!["x".into(), "y".into()]));
    assert_eq!(settings.rest().collect::<Vec<_>>(), ["Z"]);
}
