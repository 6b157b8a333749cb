//! `keyweir keys test`: whether keys of a running server work.

use std::io::{Write, stdout};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::Format;
use super::keys::{Chosen, bulk};
use super::keys_check::progress;
use super::table::aligned;

/// Exit status 0 if every key works, also one that is at a limit; 1 if one is dead or could not be tested.
pub(super) fn execute(chosen: &Chosen, format: Format) -> anyhow::Result<ExitCode> {
    let (server, path, body) = bulk(chosen, "test")?;
    let (bar, mut keys) = (progress(0, 0), Vec::new());
    let report = server.stream(&path, &body, |line| {
        if let (Some(done), Some(total)) = (line["done"].as_u64(), line["total"].as_u64()) {
            bar.set_length(total);
            bar.set_position(done);
            keys.push(line["key"].clone());
        }
    })?;
    bar.finish_and_clear();
    let is_fine = keys.iter().all(|key| matches!(key["outcome"].as_str(), Some("valid" | "limited")));
    let mut out = stdout().lock();
    match format {
        Format::Json => writeln!(out, "{:#}", json!({"items": keys, "report": report}))?,
        Format::Text => write!(out, "{}", table(&keys, &report))?,
    }
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(keys: &[Value], report: &Value) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let rows = keys.iter().map(|key| {
        let status = key["status"].as_u64().map_or_else(|| "-".into(), |status| status.to_string());
        let took = format!("{} ms", key["milliseconds"].as_u64().unwrap_or(0));
        let [name, outcome, reason, rule, effect] =
            ["name", "outcome", "reason", "rule", "effect"].map(|field| word(&key[field]));
        [name, outcome, reason, rule, status, took, effect, word(&key["state"])]
    });
    let counts = report["outcomes"].as_object().into_iter().flatten();
    let counts: Vec<String> = counts.map(|(outcome, count)| format!("{count} {outcome}")).collect();
    let heads = ["KEY", "RESULT", "REASON", "RULE", "STATUS", "TIME", "EFFECT", "STATE NOW"];
    format!("{}{} keys: {}\n", aligned(heads, rows), keys.len(), counts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_was_found_and_done() {
        let key = json!({"name": "a", "outcome": "dead", "reason": "unauthorized", "rule": "generic-key", "status": 401,
            "milliseconds": 12, "effect": "disabled", "state": "disabled"});
        let report = json!({"outcomes": {"dead": 1, "valid": 0}});
        assert_eq!(
            table(&[key], &report),
            "KEY  RESULT  REASON        RULE         STATUS  TIME   EFFECT    STATE NOW\n\
             a    dead    unauthorized  generic-key  401     12 ms  disabled  disabled\n\
             1 keys: 1 dead, 0 valid\n"
        );
    }
}
