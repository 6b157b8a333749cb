//! The command line: one file per command. Here, and nowhere else, errors are `anyhow`'s.
//!
//! Data goes to stdout, talk to stderr. Exit status 0 = fine, 1 = the thing asked about is wrong, 2 = wrong usage.

mod check;
mod completions;
mod demo;
mod explain;
mod healthcheck;
mod init;
mod keys;
mod keys_check;
mod keys_test;
mod man;
mod mock;
mod run;
mod schema;
mod server;
mod table;
mod takeover;
mod token;
mod verdict;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// What `--version` says.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let commit = option_env!("KEYWEIR_GIT_SHA").unwrap_or("unknown");
    format!("{} (commit {commit}, Pingora 0.9.1)", env!("CARGO_PKG_VERSION"))
});

/// A Pingora edge proxy that gives every LLM request a healthy API key from a pool.
#[derive(Debug, Parser)]
#[command(name = "keyweir", version = VERSION.as_str(), args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve: proxy, admin and metrics in one process (the default command)
    Run(RunArgs),
    /// Write keyweir.yaml and keys.yaml with fresh tokens
    Init(InitArgs),
    /// Validate the configuration and the keys file, naming every mistake
    Check(CheckArgs),
    /// Try it without configuration, keys or provider
    Demo(DemoArgs),
    /// Serve the mock provider alone
    Mock(MockArgs),
    /// Tell why each key of a pool would or would not be picked now, and when it is back
    Explain(ExplainArgs),
    /// Tell what the rules make of recorded answers of providers
    Verdict(VerdictArgs),
    /// Work with keys
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Work with client tokens
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Print the JSON Schema of keyweir.yaml
    Schema(SchemaArgs),
    /// Print a shell's completions
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the man page
    Man,
    /// Ask a running server whether it is ready (for container images)
    Healthcheck(HealthcheckArgs),
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub(crate) struct ConfigArg {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", default_value = "keyweir.yaml")]
    pub(crate) config: PathBuf,
}

/// `keyweir run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) file: ConfigArg,
    /// Only check the files, like `keyweir check`
    #[arg(short, long)]
    pub(crate) test: bool,
}

/// `keyweir check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    pub(crate) file: ConfigArg,
    /// Print the effective configuration: defaults filled in, secrets redacted
    #[arg(long)]
    pub(crate) print: bool,
    /// How mistakes and warnings are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// How a table is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// `keyweir init`
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The provider of the first pool
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// A keys file to take over, in any format
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,
    /// The folder of an older balancer whose settings, keys and states to take over (docs/migrating.md)
    #[arg(long, value_name = "OLD", conflicts_with_all = ["provider", "keys"])]
    pub(crate) from: Option<PathBuf>,
    /// Where to write
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
}

/// `keyweir demo`
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Address of the proxy listener, e.g. 127.0.0.1:8080
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<SocketAddr>,
    /// First of the ports used: proxy, admin, metrics; taken ones are skipped
    #[arg(long, value_name = "PORT")]
    pub(crate) port_base: Option<u16>,
}

/// `keyweir mock`
#[derive(Debug, Args)]
pub(crate) struct MockArgs {
    /// Address to listen on, e.g. 127.0.0.1:9000
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
}

/// Which running server is asked.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// The server's admin address
    #[arg(long, value_name = "URL", env = "KEYWEIR_SERVER", default_value = "http://127.0.0.1:8081")]
    pub(crate) server: String,
    /// A file that holds the admin token; else KEYWEIR_ADMIN_TOKEN in the environment does
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
}

/// `keyweir explain`
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// The pool; the default one if none is named
    #[arg(long, value_name = "NAME")]
    pub(crate) pool: Option<String>,
    /// The model a request would ask for
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// How the answer is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

/// `keyweir verdict`
#[derive(Debug, Args)]
pub(crate) struct VerdictArgs {
    /// A configuration whose pools' own rules are tried first, each for the pool's provider
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The provider whose pack judges; else each answer's own
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// The wall clock (RFC 3339 or Unix time), for rests that end at a date
    #[arg(long, value_name = "TIME")]
    pub(crate) now: Option<String>,
    /// Compare with what each answer is expected to come to; exit status 1 below 100 %
    #[arg(long)]
    pub(crate) expect: bool,
    /// How the comparison is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Recorded answers, a JSON object a line (docs/verdicts.md); - for standard input
    #[arg(value_name = "CASES.jsonl")]
    pub(crate) cases: String,
}

/// `keyweir keys`
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Find out which keys of a file work, without a server
    Check(KeysCheckArgs),
    #[command(flatten)]
    Server(keys::ServerKeys),
}

/// `keyweir keys check`
#[derive(Debug, Args)]
pub(crate) struct KeysCheckArgs {
    /// The keys, in any format
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Whose keys they are
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// The provider's base URL, e.g. https://api.example.com/v1
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
    /// A configuration, one of whose pools says whom to ask
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["provider", "base_url"])]
    pub(crate) config: Option<PathBuf>,
    /// That pool; the default one if none is named
    #[arg(long, value_name = "NAME", requires = "config")]
    pub(crate) pool: Option<String>,
    /// Keys asked for at once
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=256))]
    pub(crate) jobs: usize,
    /// Requests per second, at most
    #[arg(long, value_name = "N", default_value_t = 10.0, value_parser = rate)]
    pub(crate) rate: f64,
    /// Seconds an answer may take
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,
    /// The model to chat with, where only a chat tells
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Folder of the results; FILE.checked if none is named
    #[arg(short, long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Begin anew instead of going on where an unfinished run stopped
    #[arg(long)]
    pub(crate) fresh: bool,
    /// How the summary is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.01..=10_000.0).contains(&rate) { Ok(rate) } else { Err("must be from 0.01 to 10000".into()) }
}

/// `keyweir schema`
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Print that of providers' packs and of rules instead
    #[arg(long, alias = "packs")]
    pub(crate) pack: bool,
    /// Print the OpenAPI document of the admin listener instead
    #[arg(long, conflicts_with = "pack")]
    pub(crate) openapi: bool,
    /// Print the reference for docs/configuration.md instead
    #[arg(long, hide = true)]
    pub(crate) markdown: bool,
}

/// `keyweir healthcheck`
#[derive(Debug, Args)]
pub(crate) struct HealthcheckArgs {
    #[command(flatten)]
    pub(crate) file: ConfigArg,
}

/// Parses the arguments, runs the command, reports what went wrong.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let printed = e.print().is_ok();
            return if e.use_stderr() || !printed { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match dispatch(cli) {
        Ok(code) => code,
        Err(e) if is_closed_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            // With stderr gone there is nobody left to tell.
            writeln!(io::stderr(), "keyweir: {e:#}").map_or(ExitCode::FAILURE, |()| ExitCode::FAILURE)
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(RunArgs { file, test: true }) => {
            check::execute(&CheckArgs { file, print: false, format: Format::Text })
        }
        Command::Run(args) => done(run::execute(args)),
        Command::Init(args) => init::execute(&args),
        Command::Check(args) => check::execute(&args),
        Command::Demo(args) => done(demo::execute(args)),
        Command::Mock(args) => done(mock::execute(args.listen)),
        Command::Explain(args) => explain::execute(&args),
        Command::Verdict(args) => verdict::execute(&args),
        Command::Keys(KeysCommand::Check(args)) => keys_check::execute(&args),
        Command::Keys(KeysCommand::Server(command)) => keys::execute(command),
        Command::Token(command) => done(token::execute(command)),
        Command::Schema(args) => done(schema::execute(&args)),
        Command::Completions { shell } => done(completions::execute(shell)),
        Command::Man => done(man::execute()),
        Command::Healthcheck(args) => done(healthcheck::execute(args)),
    }
}

fn done(result: anyhow::Result<()>) -> anyhow::Result<ExitCode> {
    result.map(|()| ExitCode::SUCCESS)
}

/// `keyweir schema | head` is no failure.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

/// The command line's definition, for completions and the man page.
fn definition() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Cli {
        Cli::try_parse_from(line.split(' ')).unwrap()
    }

    #[test]
    fn the_definition_is_sound() {
        definition().debug_assert();
    }

    #[test]
    fn run_is_the_default_command() {
        let cli = parse("keyweir -c a.yaml -t");
        assert!(cli.command.is_none() && cli.run.test);
        assert_eq!(cli.run.file.config, PathBuf::from("a.yaml"));
        assert!(matches!(parse("keyweir run -c a.yaml").command, Some(Command::Run(RunArgs { test: false, .. }))));
    }
}
