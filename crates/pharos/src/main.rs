//! The `pharos` binary: parses the command line and dispatches.

use std::io::Write;
use std::process::ExitCode;

use pharos::cli::{CheckCommand, Cli, Command, TestCommand, ToolCommand, WalCommand};
use pharos::tool;

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
        Command::Server(args) => pharos::server::run(*args).map(|()| true),
        Command::Alertmanager(args) => pharos::alertmanager::run(*args).map(|()| true),
        Command::Cluster(args) => {
            pharos::cluster::command::run(&args, &mut std::io::stdout()).map_err(|error| error.to_string())
        }
        Command::Tool(command) => run_tool(command),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "pharos: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a tool. `Ok(false)` means that it found a problem.
fn run_tool(command: ToolCommand) -> Result<bool, String> {
    let (out, errors) = (&mut std::io::stdout().lock(), &mut std::io::stderr().lock());
    let text = |error: std::io::Error| error.to_string();
    match command {
        ToolCommand::Check(CheckCommand::Config { files }) => tool::check_config(&files, out).map_err(text),
        ToolCommand::Check(CheckCommand::AlertmanagerConfig { files }) => {
            tool::check_alertmanager_config(&files, out).map_err(text)
        }
        ToolCommand::Promqltest { files } => tool::promqltest(&files, out, errors).map_err(text),
        ToolCommand::Test(TestCommand::Rules { files, run, ignore_unknown_fields, .. }) => {
            let pattern = (!run.is_empty()).then(|| run.join("|"));
            let run =
                pattern.map(|pattern| regex::Regex::new(&pattern)).transpose().map_err(|error| error.to_string())?;
            let options = tool::TestRulesOptions { run, ignore_unknown_fields };
            tool::test_rules(&files, &options, out, errors).map_err(text)
        }
        ToolCommand::Docs(command) => tool::docs(&command, out).map(|()| true).map_err(text),
        ToolCommand::Wal(WalCommand::Repair { dir }) => tool::repair_wal(&dir, out).map(|()| true),
    }
}
