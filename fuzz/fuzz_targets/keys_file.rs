//! Any text is read as a keys file, and what was read is read again from every export.

#![no_main]

use keyweir::config::formats::{ExportFormat, export, read};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let entries = read(text).entries;
    for format in [ExportFormat::Yaml, ExportFormat::Json, ExportFormat::Csv] {
        let again = read(&export(format, &entries));
        assert!(again.bad.is_empty(), "{format:?}: {:?}", again.bad);
        let keys = |entries: &[keyweir::config::formats::Entry]| {
            let mut keys: Vec<String> = entries.iter().map(|entry| entry.key.expose().to_owned()).collect();
            keys.sort_unstable();
            keys
        };
        assert!(keys(&entries) == keys(&again.entries), "{format:?}");
    }
});
