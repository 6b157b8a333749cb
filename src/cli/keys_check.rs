//! `keyweir keys check`: which keys of a file work, found out without a server.
//!
//! Invariant: what is found is on disk before the next key of that thread is asked, so a run that is cut off goes on where
//! it stopped. The lists hold keys and are readable by their owner alone; nothing printed holds any.

mod probe;
mod results;

use std::io::{IsTerminal, Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures::{StreamExt, stream};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::{Format, KeysCheckArgs};
use crate::config::formats::{self, Entry, Reading};
use crate::config::{self, KeySpec, Process};
use crate::health::Outcome;
use crate::manage::Candidate;
use crate::verdict::pack;
use probe::{Pace, Provider};
use results::Results;

/// Largest file read, in bytes.
const MAX_FILE: u64 = 256 * 1024 * 1024;
/// So many keys in a row without a connection: the provider cannot be reached.
const HOPELESS: usize = 20;

/// Exit status 0 if no key is dead, 1 if one is, 2 if it is not clear whom to ask.
pub(crate) fn execute(args: &KeysCheckArgs) -> anyhow::Result<ExitCode> {
    let reading = read(&args.file)?;
    for bad in &reading.bad {
        writeln!(stderr(), "{}:{bad}", args.file.display())?;
    }
    let asked = match Asked::find(args, &reading) {
        Ok(asked) => asked,
        Err(e) => {
            writeln!(stderr(), "keyweir: {e:#}")?;
            return Ok(ExitCode::from(2));
        }
    };
    let entries = asked.entries(&reading);
    if entries.is_empty() {
        bail!("{} holds no key", args.file.display());
    }
    let folder = args.out.clone().unwrap_or_else(|| with_ending(&args.file, "checked"));
    let keys = asked.keys(&entries)?;
    let mut results = Results::open(&folder, &asked.base(), &entries, args.fresh)?;
    if results.done() > 0 {
        writeln!(
            stderr(),
            "going on where the last run stopped: {} of {} keys are done",
            results.done(),
            entries.len()
        )?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async { ask_all(&Provider::prepare(asked.pool, keys).await?, &mut results, args).await })?;
    results.write_lists(&entries)?;
    print(args, &reading, &entries, &results)?;
    Ok(if results.count(Outcome::Dead) > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn read(path: &Path) -> anyhow::Result<Reading> {
    let cannot = || format!("cannot read {}", path.display());
    if std::fs::metadata(path).with_context(cannot)?.len() > MAX_FILE {
        bail!("{} is larger than {} MiB", path.display(), MAX_FILE >> 20);
    }
    let text = String::from_utf8(std::fs::read(path).with_context(cannot)?)
        .map_err(|_| anyhow!("{} is not UTF-8; save the file as UTF-8", path.display()))?;
    Ok(formats::read_as(&text, formats::Format::Auto, &Process))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{ending}"));
    path.with_file_name(name)
}

/// Who is asked, and for which of the file's keys.
struct Asked {
    pool: config::Pool,
    /// The pool or provider whose keys are meant, if the file has those of several.
    name: String,
}

impl Asked {
    fn find(args: &KeysCheckArgs, reading: &Reading) -> anyhow::Result<Self> {
        let (mut pool, name) = match &args.config {
            Some(path) => Self::in_config(path, args.pool.as_deref())?,
            None => Self::of_provider(args, reading)?,
        };
        let limit = Duration::from_secs(args.timeout);
        (pool.timeouts.first_byte, pool.timeouts.total) = (limit, limit);
        pool.models.test = args.model.clone().or(pool.models.test);
        Ok(Self { pool, name })
    }

    fn of_provider(args: &KeysCheckArgs, reading: &Reading) -> anyhow::Result<(config::Pool, String)> {
        let hinted;
        let name = match (&args.provider, &args.base_url) {
            (Some(name), _) => Some(name.as_str()),
            (None, Some(url)) => Some(formats::provider_of(url).unwrap_or("generic")),
            (None, None) => {
                hinted = hint(reading);
                hinted.as_deref()
            }
        };
        let name = name.context("whose keys are these? say --provider NAME, --base-url URL, or -c FILE --pool POOL")?;
        let pack = pack::find(name).with_context(|| {
            let known: Vec<&str> = pack::PACKS.iter().map(|pack| pack.name.as_str()).collect();
            format!("no such provider; one of {}", known.join(", "))
        })?;
        let url = args.base_url.as_deref().or(pack.base_url.as_deref());
        let url = url.with_context(|| format!("provider {name} has no base URL of its own; say --base-url URL"))?;
        // The pool that a configuration would have for it; a dollar there begins a variable.
        let target = serde_json::Value::from(url.replace('$', "$$"));
        // No keys file: the default one may lie here, and be the very one that is checked.
        let text = format!("keys_file: []\npools: {{checked: {{provider: {name}, targets: [{target}]}}}}");
        let config = config::parse(&text, Path::new(""), &Process).map(|loaded| loaded.config).map_err(|problems| {
            let said = problems.0.into_iter().next().map(|problem| problem.message);
            anyhow!("{url}: {}", said.unwrap_or_default())
        })?;
        let pool = config.pools.into_iter().next().context("no pool")?;
        Ok((pool, name.to_owned()))
    }

    fn in_config(path: &Path, pool: Option<&str>) -> anyhow::Result<(config::Pool, String)> {
        let config = config::load(path)?.config;
        let pool = match pool {
            Some(name) => config.pools.iter().find(|pool| pool.name == name),
            None => config.default_pool.and_then(|index| config.pools.get(index)),
        };
        let pool = pool.with_context(|| format!("no such pool in {}; name one with --pool", path.display()))?;
        Ok((pool.clone(), pool.name.clone()))
    }

    /// What is asked.
    fn base(&self) -> String {
        self.pool.targets.first().map(config::Target::url).unwrap_or_default()
    }

    /// The keys meant: those for another pool or provider are passed over.
    fn entries<'a>(&self, reading: &'a Reading) -> Vec<&'a Entry> {
        let owner = |entry: &'a Entry| entry.pool.as_deref().or(entry.provider.as_deref());
        let has_own = reading.entries.iter().any(|entry| owner(entry) == Some(self.name.as_str()));
        let is_meant = |entry: &&'a Entry| {
            !has_own
                || owner(entry).is_none_or(|name| name == self.name)
                || owner(entry) == Some(self.pool.provider.name.as_str())
        };
        reading.entries.iter().filter(is_meant).collect()
    }

    /// The keys as a pool would have them, with what matters for a request.
    fn keys(&self, entries: &[&Entry]) -> anyhow::Result<Vec<Arc<KeySpec>>> {
        let key = |entry: &&Entry| {
            let mut candidate = Candidate::from(Entry::clone(entry));
            candidate.details.retain(|name, _| ["egress", "headers"].contains(&name.as_str()));
            let spec = config::key_spec(&self.pool.name, &candidate.key, &candidate.details);
            spec.map(Arc::new).map_err(|problems| {
                let said: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
                anyhow!("line {}: {}", entry.line, said.join("; "))
            })
        };
        entries.iter().map(key).collect()
    }
}

/// The one provider the file itself speaks of.
fn hint(reading: &Reading) -> Option<String> {
    let mut names = reading.entries.iter().map(|entry| {
        let names = [entry.pool.as_deref(), entry.provider.as_deref()];
        names.into_iter().flatten().find(|name| pack::find(name).is_some()).map(str::to_owned)
    });
    let first = names.next()??;
    names.all(|name| name.as_deref() == Some(first.as_str())).then_some(first)
}

/// Asks for every key that has no finding yet.
async fn ask_all(provider: &Provider, results: &mut Results, args: &KeysCheckArgs) -> anyhow::Result<()> {
    let open: Vec<usize> = results.open_ones().collect();
    let (pace, bar) = (&Pace::new(args.rate), progress(results.len(), results.done()));
    let ask = |index: usize| async move { (index, provider.ask(index as u32, pace).await) };
    let mut findings = stream::iter(open).map(ask).buffer_unordered(args.jobs);
    let mut unreached = 0;
    while let Some((index, finding)) = findings.next().await {
        unreached = if finding.is_unreached() { unreached + 1 } else { 0 };
        results.add(index, finding)?;
        bar.inc(1);
        bar.set_message(results.short());
        if unreached >= HOPELESS {
            bar.finish_and_clear();
            bail!("the provider cannot be reached; what was found so far is kept, and the next run goes on");
        }
    }
    bar.finish_and_clear();
    Ok(())
}

pub(super) fn progress(total: usize, done: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
    if !stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ({eta} left)") {
        bar.set_style(style);
    }
    bar.set_position(done as u64);
    bar
}

fn print(args: &KeysCheckArgs, reading: &Reading, entries: &[&Entry], results: &Results) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    if args.format == Format::Json {
        let bad: Vec<_> = reading.bad.iter().map(|bad| json!({"line": bad.line, "message": bad.message})).collect();
        let key = |(index, entry): (usize, &&Entry)| {
            let finding = results.get(index);
            json!({
                "line": entry.line,
                "name": entry.name,
                "outcome": finding.map(|finding| finding.outcome.as_str()),
                "reason": finding.map(|finding| finding.reason.as_str()),
            })
        };
        let keys: Vec<_> = entries.iter().enumerate().map(key).collect();
        let mut answer = json!({
            "total": entries.len(), "duplicates": reading.duplicates.len(), "bad_lines": bad, "keys": keys,
        });
        for outcome in Outcome::ALL {
            answer[outcome.as_str()] = results.count(outcome).into();
            answer["files"][outcome.as_str()] = results.list(outcome).display().to_string().into();
        }
        writeln!(out, "{answer:#}")?;
        return Ok(());
    }
    let dropped = match reading.duplicates.len() {
        0 => String::new(),
        count => format!(", {count} repeated"),
    };
    writeln!(out, "{}: {} keys{dropped}", args.file.display(), entries.len())?;
    for outcome in Outcome::ALL {
        let (count, why) = (results.count(outcome), results.reasons(outcome));
        writeln!(out, "  {:8} {count:>6}  {}{why}", outcome.as_str(), results.list(outcome).display())?;
    }
    Ok(())
}
