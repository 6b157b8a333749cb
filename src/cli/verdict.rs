//! `keyweir verdict`: what the rules say of recorded answers, and how often that is what was expected.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write, stderr, stdin, stdout};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Format, VerdictArgs};
use crate::config;
use crate::verdict::case::{Case, Words};
use crate::verdict::{Engine, pack};

/// Longest line read: a recorded body is cut to 8 KiB anyway.
const MAX_LINE: u64 = 16 * 1024 * 1024;

/// Exit status 1 if a line is no case, or with `--expect` if a verdict is not the expected one.
pub(crate) fn execute(args: &VerdictArgs) -> anyhow::Result<ExitCode> {
    let now = match &args.now {
        Some(text) => moment(text)?,
        None => Timestamp::now(),
    };
    let mut engines = Engines::new(args)?;
    let is_known = |name: &str| pack::find(name).is_some() || engines.0.contains_key(name);
    if let Some(name) = args.provider.as_deref().filter(|name| !is_known(name)) {
        let known: Vec<&str> = pack::PACKS.iter().map(|pack| pack.name.as_str()).collect();
        writeln!(stderr(), "keyweir: unknown provider {name}; one of {}", known.join(", "))?;
        return Ok(ExitCode::from(2));
    }
    let mut report = Report::default();
    let mut out = stdout().lock();
    let mut is_sound = true;
    for (line, text) in lines(args)? {
        let case: Case = match serde_json::from_str(&text) {
            Ok(case) => case,
            Err(error) => {
                writeln!(stderr(), "{}:{line}: not a recorded answer: {error}", args.cases)?;
                is_sound = false;
                continue;
            }
        };
        let provider = args.provider.as_deref().unwrap_or(&case.provider);
        let words = case.judge(&engines.get(provider), now);
        if args.expect {
            report.note(&case, provider, words);
        } else {
            writeln!(out, "{}", with_id(&case.id, &words))?;
        }
    }
    if args.expect {
        report.print(args.format, &mut out)?;
        is_sound &= report.misses.is_empty();
    }
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// RFC 3339, or seconds since 1970.
fn moment(text: &str) -> anyhow::Result<Timestamp> {
    let seconds = text.parse::<i64>().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    seconds.or_else(|| text.parse().ok()).ok_or_else(|| anyhow!("--now: write e.g. 2026-01-31T12:00:00Z"))
}

/// The lines that hold something, with their numbers.
fn lines(args: &VerdictArgs) -> anyhow::Result<Vec<(usize, String)>> {
    let source: Box<dyn Read> = match args.cases.as_str() {
        "-" => Box::new(stdin()),
        path => Box::new(std::fs::File::open(path).with_context(|| format!("cannot read {path}"))?),
    };
    let mut reader = BufReader::new(source);
    let mut lines = Vec::new();
    for number in 1.. {
        let mut line = Vec::new();
        let length = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)?;
        if length == 0 {
            break;
        }
        let text = String::from_utf8_lossy(&line).trim().to_owned();
        if !text.is_empty() {
            lines.push((number, text));
        }
    }
    Ok(lines)
}

/// The rules by provider: a configured pool's, or the pack's alone.
struct Engines(BTreeMap<String, Arc<Engine>>);

impl Engines {
    fn new(args: &VerdictArgs) -> anyhow::Result<Self> {
        let mut engines = BTreeMap::new();
        if let Some(path) = &args.config {
            for pool in config::load(path)?.config.pools {
                engines.entry(pool.provider.name.to_owned()).or_insert(pool.verdicts);
            }
        }
        Ok(Self(engines))
    }

    /// Of a provider nobody knows, the generic pack's.
    fn get(&mut self, provider: &str) -> Arc<Engine> {
        let pack = pack::find(provider).unwrap_or(pack::generic());
        // A pack of one's own is known by its pool alone.
        let name = if self.0.contains_key(provider) { provider } else { &pack.name };
        self.0.entry(name.to_owned()).or_insert_with(|| Arc::new(Engine::of_pack(pack))).clone()
    }
}

fn with_id(id: &str, words: &Words) -> Value {
    let mut value = json!(words);
    value["id"] = id.into();
    value
}

/// How often the verdicts were the expected ones.
#[derive(Default)]
struct Report {
    /// Right and all, by provider.
    counts: BTreeMap<String, (usize, usize)>,
    misses: Vec<Value>,
}

impl Report {
    fn note(&mut self, case: &Case, provider: &str, words: Words) {
        let Some(expected) = &case.expected else { return };
        let is_met = expected.is_met(&words);
        let (right, all) = self.counts.entry(provider.to_owned()).or_default();
        *right += usize::from(is_met);
        *all += 1;
        if !is_met {
            let mut miss = with_id(&case.id, &words);
            miss["expected"] = json!(expected);
            self.misses.push(miss);
        }
    }

    fn print(&self, format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
        let (right, all) = self.counts.values().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        if format == Format::Json {
            let count =
                |(right, all): (usize, usize)| json!({"right": right, "all": all, "accuracy": share(right, all)});
            let providers: serde_json::Map<_, _> =
                self.counts.iter().map(|(name, found)| (name.clone(), count(*found))).collect();
            let mut report = count((right, all));
            report["providers"] = providers.into();
            report["misses"] = json!(self.misses);
            writeln!(out, "{report:#}")?;
            return Ok(());
        }
        for miss in &self.misses {
            writeln!(out, "miss: {miss}")?;
        }
        let width = self.counts.keys().map(String::len).max().unwrap_or(0);
        for (name, (right, all)) in &self.counts {
            writeln!(out, "{name:width$}  {right:>4} of {all:>4}  {:5.1} %", 100.0 * share(*right, *all))?;
        }
        writeln!(out, "accuracy: {right} of {all}, {:.1} %", 100.0 * share(right, all))?;
        Ok(())
    }
}

fn share(right: usize, all: usize) -> f64 {
    if all == 0 { 1.0 } else { right as f64 / all as f64 }
}
