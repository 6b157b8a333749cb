//! A provider's pack in a file of the user's (docs/verdicts.md).

use std::sync::Arc;

use super::Context;
use super::pool::complain;
use crate::config::document;
use crate::config::problem::{At, Report};
use crate::verdict::pack::{Pack, PackText};

/// Largest file read, in bytes.
const MAX_FILE: u64 = 1024 * 1024;

/// Reads a pack; `None` = the file, or the place that names it, was complained about.
pub(super) fn read(path: &str, at: &At<'_>, context: &Context<'_>) -> Option<Arc<Pack>> {
    let file = context.path(path);
    let report = Report::new(file.display().to_string());
    let pack = document::read_text(&file, MAX_FILE, &report).and_then(|text| {
        let (root, text) = document::read::<PackText>(&text, &report, context.env);
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let flaws = match Pack::new(name, file, text?) {
            Ok(pack) => return Some(Arc::new(pack)),
            Err(flaws) => flaws,
        };
        let top = At::root(&report, &root);
        flaws.iter().for_each(|flaw| complain(&top, &flaw.path, &flaw.message));
        None
    });
    let is_sound = at.adopt(report);
    pack.filter(|_| is_sound)
}
