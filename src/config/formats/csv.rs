//! Tables: a line of column names, then a key per line.

use csv::{ReaderBuilder, Trim};

use super::collect::Collector;
use super::fields::{Field, Hints, field};
use super::lines::Lines;

/// Reads a table separated by commas, semicolons or tabs.
pub(super) fn read(text: &str, out: &mut Collector) {
    let header = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#')).unwrap_or_default();
    let separator = [b';', b'\t'].into_iter().find(|separator| header.as_bytes().contains(separator)).unwrap_or(b',');
    let mut table = ReaderBuilder::new()
        .delimiter(separator)
        .flexible(true)
        .trim(Trim::All)
        .comment(Some(b'#'))
        .from_reader(text.as_bytes());
    let Ok(names) = table.headers().cloned() else { return out.bad(1, "not a table") };
    let columns: Vec<Option<Field>> = names.iter().map(field).collect();
    let Some(key) = columns.iter().position(|field| *field == Some(Field::Key)) else {
        return out.bad(1, "no column is called key");
    };
    let lines = Lines::of(text);
    for record in table.records() {
        // Text in memory, of any number of fields: only what is not UTF-8 could fail, and this is.
        let Ok(record) = record else { continue };
        let line = record.position().map_or(0, |position| line_of(text, position.byte(), &lines));
        let mut entry = Hints::default().entry(line, record.get(key).unwrap_or_default());
        for (field, text) in columns.iter().zip(&record).filter_map(|(field, text)| Some(((*field)?, text))) {
            if let Err(message) = entry.set(field, plain(text)) {
                out.bad(line, message);
            }
        }
        out.push(entry);
    }
}

/// The line of the record at an offset, which may begin with blank lines.
fn line_of(text: &str, offset: u64, lines: &Lines) -> usize {
    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
    let rest = text.get(offset..).unwrap_or_default();
    lines.position(offset.saturating_add(rest.len() - rest.trim_start().len())).line
}

/// Undoes the apostrophe that keeps a spreadsheet from taking text for a formula.
fn plain(text: &str) -> &str {
    text.strip_prefix('\'').filter(|rest| rest.starts_with(super::export::FORMULA)).unwrap_or(text)
}
