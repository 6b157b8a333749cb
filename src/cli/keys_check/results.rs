//! What was found about each key: written down as it is found, and as lists at the end.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::config::KeyId;
use crate::config::formats::Entry;
use crate::health::Outcome;
use crate::telemetry::AttemptResult;

/// Found so far; goes away when everything is.
const STATE: &str = "unfinished.jsonl";

/// Why nothing is known of a key whose provider could not be reached.
const UNREACHED: &str = AttemptResult::Unreachable.as_str();

/// What is known of a key, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) outcome: Outcome,
    pub(super) reason: String,
}

impl Finding {
    pub(super) fn new(outcome: Outcome, reason: impl Into<String>) -> Self {
        Self { outcome, reason: reason.into() }
    }

    /// The provider was not there.
    pub(super) fn is_unreached(&self) -> bool {
        self.outcome == Outcome::Unknown && self.reason == UNREACHED
    }
}

/// A line of the state file.
#[derive(Deserialize, Serialize)]
struct Line {
    id: String,
    outcome: Outcome,
    reason: String,
}

/// The findings of one run and of the ones it goes on from.
pub(super) struct Results {
    folder: PathBuf,
    state: File,
    ids: Vec<KeyId>,
    findings: Vec<Option<Finding>>,
    counts: [usize; Outcome::ALL.len()],
}

impl Results {
    /// Opens the folder of the results, and takes up what an earlier run found at the same place. What it did not find out
    /// is asked again.
    pub(super) fn open(folder: &Path, base: &str, entries: &[&Entry], fresh: bool) -> anyhow::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        // The place is part of the id, so nothing said elsewhere counts here.
        let ids: Vec<KeyId> = entries.iter().map(|entry| KeyId::of(base, entry.key.expose())).collect();
        let path = folder.join(STATE);
        let earlier = if fresh { String::new() } else { fs::read_to_string(&path).unwrap_or_default() };
        let mut found: HashMap<String, Finding> = earlier
            .lines()
            .filter_map(|line| serde_json::from_str::<Line>(line).ok())
            .filter(|line| line.outcome != Outcome::Unknown)
            .map(|line| (line.id, Finding::new(line.outcome, line.reason)))
            .collect();
        let findings: Vec<Option<Finding>> = ids.iter().map(|id| found.remove(&id.to_string())).collect();
        let count = |outcome| findings.iter().flatten().filter(|finding| finding.outcome == outcome).count();
        let counts = Outcome::ALL.map(count);
        let mut options = OpenOptions::new();
        options.create(true).mode(0o600);
        if fresh {
            options.write(true).truncate(true)
        } else {
            options.append(true)
        };
        let mut state = options.open(&path).with_context(|| format!("cannot write {}", path.display()))?;
        // A line that was cut off stays alone.
        if !earlier.is_empty() && !earlier.ends_with('\n') {
            state.write_all(b"\n")?;
        }
        Ok(Self { folder: folder.to_owned(), state, ids, findings, counts })
    }

    /// Notes a finding, on disk first.
    pub(super) fn add(&mut self, index: usize, finding: Finding) -> anyhow::Result<()> {
        if let Some(id) = self.ids.get(index) {
            let line = Line { id: id.to_string(), outcome: finding.outcome, reason: finding.reason.clone() };
            let text = format!("{}\n", serde_json::to_string(&line)?);
            self.state.write_all(text.as_bytes()).context("the results cannot be written")?;
        }
        if let Some(count) = self.counts.get_mut(finding.outcome as usize) {
            *count += 1;
        }
        if let Some(place) = self.findings.get_mut(index) {
            *place = Some(finding);
        }
        Ok(())
    }

    pub(super) fn get(&self, index: usize) -> Option<&Finding> {
        self.findings.get(index)?.as_ref()
    }

    /// How many keys there are.
    pub(super) fn len(&self) -> usize {
        self.findings.len()
    }

    /// The places of keys that have no finding yet.
    pub(super) fn open_ones(&self) -> impl Iterator<Item = usize> {
        self.findings.iter().enumerate().filter(|(_, finding)| finding.is_none()).map(|(index, _)| index)
    }

    /// How many keys have a finding.
    pub(super) fn done(&self) -> usize {
        self.counts.iter().sum()
    }

    pub(super) fn count(&self, outcome: Outcome) -> usize {
        self.counts.get(outcome as usize).copied().unwrap_or(0)
    }

    /// The counts so far, for a progress bar.
    pub(super) fn short(&self) -> String {
        Outcome::ALL.map(|outcome| format!("{} {}", self.count(outcome), outcome.as_str())).join(", ")
    }

    /// Why keys have this outcome: ` (timeout 2, server_error 1)`.
    pub(super) fn reasons(&self, outcome: Outcome) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for finding in self.findings.iter().flatten().filter(|finding| finding.outcome == outcome) {
            *counts.entry(&finding.reason).or_default() += 1;
        }
        let words: Vec<String> = counts.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        if words.is_empty() || outcome == Outcome::Valid { String::new() } else { format!("  ({})", words.join(", ")) }
    }

    /// Where the keys with this outcome are listed.
    pub(super) fn list(&self, outcome: Outcome) -> PathBuf {
        self.folder.join(format!("{}.txt", outcome.as_str()))
    }

    /// Writes the four lists. Only now is the run finished.
    pub(super) fn write_lists(&self, entries: &[&Entry]) -> anyhow::Result<()> {
        for outcome in Outcome::ALL {
            let has = |index: usize| self.get(index).is_some_and(|finding| finding.outcome == outcome);
            let keys = entries.iter().enumerate().filter(|(index, _)| has(*index)).map(|(_, entry)| entry);
            let text: String = keys.flat_map(|entry| [entry.key.expose(), "\n"]).collect();
            let path = self.list(outcome);
            replace(&path, &text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let state = self.folder.join(STATE);
        fs::remove_file(&state).with_context(|| format!("cannot remove {}", state.display()))
    }
}

/// Writes a file for its owner alone; nobody ever sees half of it.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let draft = path.with_extension("txt.new");
    match fs::remove_file(&draft) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&draft, path)
}
