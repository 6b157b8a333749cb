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
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use http::{HeaderName, HeaderValue};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::{Format, KeysCheckArgs};
use crate::config::formats::{self, Entry, Reading};
use crate::config::{self, Process, Target};
use crate::verdict::pack::{self, Pack};
use probe::{Pace, Provider};
use results::{Finding, OUTCOMES, Outcome, Results};

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
    let mut results = Results::open(&folder, &asked.base, &entries, args.fresh)?;
    if results.done() > 0 {
        writeln!(
            stderr(),
            "going on where the last run stopped: {} of {} keys are done",
            results.done(),
            entries.len()
        )?;
    }
    let provider = asked.provider(args)?;
    ask_all(&provider, &entries, &mut results, args)?;
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
    pack: Arc<Pack>,
    base: String,
    /// The pool or provider whose keys are meant, if the file has those of several.
    name: String,
    headers: Vec<(String, String)>,
}

impl Asked {
    fn find(args: &KeysCheckArgs, reading: &Reading) -> anyhow::Result<Self> {
        if let Some(path) = &args.config {
            return Self::in_config(path, args.pool.as_deref());
        }
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
        let headers = texts(&pack.headers).collect();
        Ok(Self { pack: pack.clone(), base: url.trim_end_matches('/').to_owned(), name: name.to_owned(), headers })
    }

    fn in_config(path: &Path, pool: Option<&str>) -> anyhow::Result<Self> {
        let config = config::load(path)?.config;
        let pool = match pool {
            Some(name) => config.pools.iter().find(|pool| pool.name == name),
            None => config.default_pool.and_then(|index| config.pools.get(index)),
        };
        let pool = pool.with_context(|| format!("no such pool in {}; name one with --pool", path.display()))?;
        let target = pool.targets.first().context("the pool has no target")?;
        Ok(Self {
            pack: pool.provider.clone(),
            base: base(target),
            name: pool.name.clone(),
            headers: texts(&pool.provider.headers).chain(texts(&pool.headers)).collect(),
        })
    }

    /// The keys meant: those for another pool or provider are passed over.
    fn entries<'a>(&self, reading: &'a Reading) -> Vec<&'a Entry> {
        let owner = |entry: &'a Entry| entry.pool.as_deref().or(entry.provider.as_deref());
        let has_own = reading.entries.iter().any(|entry| owner(entry) == Some(self.name.as_str()));
        let is_meant = |entry: &&'a Entry| {
            !has_own
                || owner(entry).is_none_or(|name| name == self.name)
                || owner(entry) == Some(self.pack.name.as_str())
        };
        reading.entries.iter().filter(is_meant).collect()
    }

    fn provider(&self, args: &KeysCheckArgs) -> anyhow::Result<Provider> {
        Provider::prepare(
            &self.pack,
            &self.base,
            &self.headers,
            args.model.as_deref(),
            Duration::from_secs(args.timeout),
        )
    }
}

/// Headers that are text.
fn texts(headers: &[(HeaderName, HeaderValue)]) -> impl Iterator<Item = (String, String)> {
    headers.iter().filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
}

fn base(target: &Target) -> String {
    format!("{}://{}{}", if target.tls { "https" } else { "http" }, target.authority(), target.path)
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
fn ask_all(provider: &Provider, entries: &[&Entry], results: &mut Results, args: &KeysCheckArgs) -> anyhow::Result<()> {
    let open: Vec<usize> = (0..entries.len()).filter(|index| results.get(*index).is_none()).collect();
    let (pace, next) = (Pace::new(args.rate), AtomicUsize::new(0));
    let (stop, unreached) = (AtomicBool::new(false), AtomicUsize::new(0));
    let bar = progress(entries.len(), results.done());
    let (sender, findings) = mpsc::channel::<(usize, Finding)>();
    let written = thread::scope(|scope| {
        for _ in 0..args.jobs.min(open.len()) {
            let (sender, open, pace, next, stop, unreached) = (sender.clone(), &open, &pace, &next, &stop, &unreached);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Some(index) = open.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                    let Some(entry) = entries.get(*index) else { break };
                    let finding = provider.ask(entry.key.expose(), pace);
                    match finding.is_unreached() {
                        true if unreached.fetch_add(1, Ordering::Relaxed) + 1 >= HOPELESS => {
                            stop.store(true, Ordering::Relaxed);
                        }
                        true => {}
                        false => unreached.store(0, Ordering::Relaxed),
                    }
                    if sender.send((*index, finding)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        let written = findings.iter().try_for_each(|(index, finding)| {
            results.add(index, finding)?;
            bar.inc(1);
            bar.set_message(results.short());
            Ok(())
        });
        stop.store(true, Ordering::Relaxed);
        written
    });
    bar.finish_and_clear();
    written.and_then(|()| match unreached.load(Ordering::Relaxed) >= HOPELESS {
        true => bail!("the provider cannot be reached; what was found so far is kept, and the next run goes on"),
        false => Ok(()),
    })
}

fn progress(total: usize, done: usize) -> ProgressBar {
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
        for outcome in OUTCOMES {
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
    for outcome in OUTCOMES {
        let (count, why) = (results.count(outcome), results.reasons(outcome));
        writeln!(out, "  {:8} {count:>6}  {}{why}", outcome.as_str(), results.list(outcome).display())?;
    }
    Ok(())
}
