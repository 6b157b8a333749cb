//! Any text is a configuration or is refused with every mistake named.

#![no_main]

use std::collections::HashMap;
use std::path::Path;

use keyweir::config::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(problems) = parse(text, Path::new("/nonexistent/keyweir.yaml"), &HashMap::new()) {
        assert!(!problems.to_string().is_empty());
    }
});
