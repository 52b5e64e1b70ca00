//! The pharos binary: reads the command line and dispatches.

use std::io::Write;
use std::process::ExitCode;

use pharos_node::cli::{CheckCommand, Cli, Command, ToolCommand, WalCommand};
use pharos_node::tool;

/// Returns memory faster and fragments less than the system's under many threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse_from_args(std::env::args_os()) {
        Ok(cli) => cli,
        Err(message) => {
            // Help goes to stdout, mistakes to stderr; there is nobody to tell when that stream is closed.
            let _ = message.print();
            return ExitCode::from(u8::try_from(message.exit_code()).unwrap_or(2));
        }
    };
    let outcome = match cli.command {
        Command::Server(args) => pharos_node::server::run(*args).map(|()| true),
        Command::Tool(ToolCommand::Check(CheckCommand::Config { files })) => {
            tool::check_config(&files, &mut std::io::stdout().lock()).map_err(|error| error.to_string())
        }
        Command::Tool(ToolCommand::Wal(WalCommand::Repair { dir })) => {
            tool::repair_wal(&dir, &mut std::io::stdout().lock()).map(|()| true)
        }
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
