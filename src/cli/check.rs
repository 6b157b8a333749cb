//! `keyweir check`: is the configuration right, and if not, what is wrong with it.

use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use serde_json::json;

use super::{CheckArgs, Format};
use crate::config::{self, Loaded, Problem};

pub(crate) fn execute(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    match config::load(&args.file.config) {
        Ok(loaded) => {
            if args.print {
                // The YAML is the data here, so that it can be piped; warnings are talk.
                print(&loaded.warnings, Format::Text, &mut stderr())?;
                stdout().write_all(loaded.to_yaml().as_bytes())?;
            } else {
                print(&loaded.warnings, args.format, &mut stdout())?;
                writeln!(stderr(), "{}: {}", args.file.config.display(), summary(&loaded))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(problems) => {
            print(&problems.0, args.format, &mut stdout())?;
            let count = problems.0.len();
            writeln!(stderr(), "{count} {} found", if count == 1 { "mistake" } else { "mistakes" })?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn print(problems: &[Problem], format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
    match format {
        Format::Text => problems.iter().try_for_each(|problem| writeln!(out, "{problem}"))?,
        Format::Json => {
            let list: Vec<_> = problems.iter().map(to_json).collect();
            writeln!(out, "{:#}", json!(list))?;
        }
    }
    Ok(())
}

fn to_json(problem: &Problem) -> serde_json::Value {
    let (severity, message) = match problem.message.strip_prefix("warning: ") {
        Some(message) => ("warning", message),
        None => ("error", problem.message.as_str()),
    };
    json!({
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "severity": severity,
        "message": message,
    })
}

fn summary(loaded: &Loaded) -> String {
    let (pools, keys) = (loaded.config.pools.len(), loaded.keys.iter().map(Vec::len).sum::<usize>());
    let plural = |count: usize, word: &str| if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") };
    format!("fine ({}, {})", plural(pools, "pool"), plural(keys, "key"))
}
