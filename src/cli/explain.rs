//! `keyweir explain`: why there is a key for a request, or none.

use std::io::{Write, stdout};
use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::Value;

use super::server::Server;
use super::table::{aligned, duration};
use super::{ExplainArgs, Format};

/// Exit status 0 if a key is ready, 1 if none is.
pub(crate) fn execute(args: &ExplainArgs) -> anyhow::Result<ExitCode> {
    let query: Vec<_> = [("pool", &args.pool), ("model", &args.model)]
        .into_iter()
        .filter_map(|(name, value)| value.as_deref().map(|value| (name, value)))
        .collect();
    let answer = Server::new(&args.server)?.get_all("explain", &query)?;
    let mut out = stdout().lock();
    match args.format {
        Format::Json => writeln!(out, "{answer:#}")?,
        Format::Text => write!(out, "{}", table(&answer, Timestamp::now()))?,
    }
    Ok(if answer["keys"]["ready"].as_u64() > Some(0) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(answer: &Value, now: Timestamp) -> String {
    let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let rows = answer["items"].as_array().into_iter().flatten().map(|key| {
        let ready_in = match key["ready_in"].as_f64() {
            Some(seconds) if seconds > 0.0 => duration(seconds),
            Some(_) => "now".into(),
            None => "-".into(),
        };
        let probe_in = key["next_probe"].as_str().map_or_else(|| "-".into(), |at| from_now(at, now));
        [word(&key["name"]), word(&key["state"]), word(&key["blocked_by"]), word(&key["reason"]), ready_in, probe_in]
    });
    let count = |state: &str| answer["keys"][state].as_u64().unwrap_or(0);
    let model = answer["model"].as_str().map(|model| format!(", model {model}")).unwrap_or_default();
    let (ready, cooling, disabled) = (count("ready"), count("cooling"), count("disabled"));
    let head = format!(
        "pool {}{model}: {ready} ready, {cooling} cooling, {disabled} disabled\n",
        answer["pool"].as_str().unwrap_or_default()
    );
    head + &aligned(["KEY", "STATE", "BLOCKED BY", "REASON", "READY IN", "PROBED IN"], rows)
}

fn from_now(at: &str, now: Timestamp) -> String {
    at.parse::<Timestamp>().map_or_else(|_| "-".into(), |at| duration(at.duration_since(now).as_secs_f64().max(0.0)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_table_is_aligned_and_says_when() {
        let answer = json!({"pool": "p", "model": "m", "keys": {"ready": 1, "cooling": 1}, "items": [
            {"name": "a", "state": "ready", "blocked_by": null, "reason": null, "ready_in": 0.0, "next_probe": "1970-01-01T00:01:30.000Z"},
            {"name": "long-name", "state": "cooling", "blocked_by": "key", "reason": "rate_limited", "ready_in": 61.2},
        ]});
        assert_eq!(
            table(&answer, Timestamp::UNIX_EPOCH),
            "pool p, model m: 1 ready, 1 cooling, 0 disabled\n\
             KEY        STATE    BLOCKED BY  REASON        READY IN  PROBED IN\n\
             a          ready    -           -             now       1m 30s\n\
             long-name  cooling  key         rate_limited  1m 2s     -\n"
        );
    }
}
