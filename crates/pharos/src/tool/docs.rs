//! `pharos tool docs`: reference tables in Markdown, generated from what the program itself is made of.
//!
//! Flags come from the definitions of the command line. Configuration fields and metrics come from the source code, where
//! their descriptions are: `--source` names the repository. The output is the same in every run.

mod config;
mod flags;
mod metrics;
#[cfg(test)]
mod reference;
mod source;

use std::io::{self, Write};
use std::path::Path;

use crate::cli::DocsCommand;

/// Writes the tables that the command names.
pub fn docs(command: &DocsCommand, out: &mut dyn Write) -> io::Result<()> {
    let text = match command {
        DocsCommand::Flags => flags::reference(),
        DocsCommand::Config { source } => config::reference(&source::read(&crates(source))?),
        DocsCommand::Metrics { source } => metrics::reference(&source::read(&crates(source))?),
    };
    out.write_all(text.as_bytes())
}

fn crates(repository: &Path) -> std::path::PathBuf {
    repository.join("crates")
}

/// A Markdown table. Cells are written as they are, except for characters that would end a cell.
fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut out = format!("| {} |\n|{}\n", head.join(" | "), "---|".repeat(head.len()));
    for row in rows {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|").replace('\n', " ")).collect();
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_cannot_end_a_row() {
        let text = table(&["a", "b"], [vec!["x|y".to_string(), "line\nbreak".to_string()]]);
        assert_eq!(text, "| a | b |\n|---|---|\n| x\\|y | line break |\n");
    }

    #[test]
    fn a_missing_repository_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("none");
        assert!(docs(&DocsCommand::Metrics { source }, &mut Vec::new()).is_err());
    }
}
