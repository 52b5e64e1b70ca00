//! The `pharos` binary: parses the command line and dispatches.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;

use pharos::cli::{CheckCommand, Cli, Command, RulesCommand, TestCommand, ToolCommand, WalCommand};
use pharos::tool;
use pharos_model::{Clock, SystemClock};

/// Returns memory to the system sooner than the default allocator, and fragments less under many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse_from_args(std::env::args_os()) {
        Ok(cli) => cli,
        Err(message) => {
            // Help goes to stdout, errors to stderr. Nobody is left to tell when that stream is closed.
            let _ = message.print();
            return ExitCode::from(u8::try_from(message.exit_code()).unwrap_or(2));
        }
    };
    let outcome = match cli.command {
        Command::Server(args) => {
            if let Err(error) = pharos::allocator::suit_the_machine() {
                let _ = writeln!(
                    std::io::stderr(),
                    "pharos: the allocator keeps its defaults, which need more memory: {error}"
                );
            }
            pharos::server::run(*args).map(|()| ExitCode::SUCCESS)
        }
        Command::Alertmanager(args) => pharos::alertmanager::run(*args).map(|()| ExitCode::SUCCESS),
        Command::Cluster(args) => {
            let is_good = pharos::cluster::command::run(&args, &mut std::io::stdout());
            is_good.map(exit_code).map_err(|error| error.to_string())
        }
        Command::Tool(command) => run_tool(command),
    };
    outcome.unwrap_or_else(|reason| {
        let _ = writeln!(std::io::stderr(), "pharos: {reason}");
        ExitCode::FAILURE
    })
}

fn exit_code(is_good: bool) -> ExitCode {
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The exit code when a lint check fails.
const LINT_FAILURE: u8 = 3;

/// Runs a tool.
fn run_tool(command: ToolCommand) -> Result<ExitCode, String> {
    let (out, errors) = (&mut std::io::stdout().lock(), &mut std::io::stderr().lock());
    let text = |error: std::io::Error| error.to_string();
    let is_good = match command {
        ToolCommand::Check(CheckCommand::Config { files }) => tool::check_config(&files, out).map_err(text),
        ToolCommand::Check(CheckCommand::AlertmanagerConfig { files }) => {
            tool::check_alertmanager_config(&files, out).map_err(text)
        }
        ToolCommand::Check(CheckCommand::Rules { files, lint, lint_fatal, ignore_unknown_fields }) => {
            let options = tool::CheckRulesOptions { lint, lint_fatal, ignore_unknown_fields };
            let outcome = tool::check_rules(&files, &options, &mut std::io::stdin(), out, errors).map_err(text)?;
            return Ok(match outcome {
                tool::CheckOutcome::Good => ExitCode::SUCCESS,
                tool::CheckOutcome::Lint => ExitCode::from(LINT_FAILURE),
                tool::CheckOutcome::Bad => ExitCode::FAILURE,
            });
        }
        ToolCommand::Promqltest { files } => tool::promqltest(&files, out, errors).map_err(text),
        ToolCommand::Test(TestCommand::Rules { files, run, ignore_unknown_fields, junit, diff, debug, .. }) => {
            let pattern = (!run.is_empty()).then(|| run.join("|"));
            let run =
                pattern.map(|pattern| regex::Regex::new(&pattern)).transpose().map_err(|error| error.to_string())?;
            let options = tool::TestRulesOptions { run, ignore_unknown_fields, junit, diff, debug };
            tool::test_rules(&files, &options, out, errors).map_err(text)
        }
        ToolCommand::Rules(RulesCommand::Replay { files, start, end, url, tenant, eval_interval, write }) => {
            let interval_ms = i64::try_from(eval_interval.as_millis()).unwrap_or(i64::MAX);
            let options = tool::ReplayOptions { server: url, tenant, start_ms: start, end_ms: end, interval_ms, write };
            tool::replay_rules(&files, &options, SystemClock::new().now_ms(), out, errors)
        }
        ToolCommand::Docs(command) => tool::docs(&command, out).map(|()| true).map_err(text),
        ToolCommand::Wal(WalCommand::Repair { dir }) => tool::repair_wal(&dir, out).map(|()| true),
    };
    is_good.map(exit_code)
}
