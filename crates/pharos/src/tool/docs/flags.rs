//! The reference of flags: every command with its arguments, as `--help` describes them.

use clap::{Arg, Command, CommandFactory};

use super::table;
use crate::cli::Cli;

/// All commands that are not hidden.
pub(super) fn reference() -> String {
    let mut command = Cli::command();
    command.build();
    let mut out = String::new();
    write_command(&command, "", &mut out);
    out
}

fn write_command(command: &Command, parents: &str, out: &mut String) {
    let name = format!("{parents}{}", command.get_name());
    let is_documented = |arg: &&Arg| !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version");
    let shown: Vec<&Arg> = command.get_arguments().filter(is_documented).collect();
    if !command.has_subcommands() {
        out.push_str(&format!("## `{name}`\n\n{}\n\n", sentence(about(command))));
        write_arguments(&shown, out);
        write_inert(command, out);
    }
    let subcommands =
        command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    for subcommand in subcommands {
        write_command(subcommand, &format!("{name} "), out);
    }
}

/// One table per heading of `--help`, in the order of their first arguments.
fn write_arguments(args: &[&Arg], out: &mut String) {
    let mut headings: Vec<Option<&str>> = Vec::new();
    for arg in args {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    for heading in headings {
        if let Some(heading) = heading {
            out.push_str(&format!("### {}\n\n", heading.split(':').next().unwrap_or(heading)));
        }
        let rows = args.iter().filter(|arg| arg.get_help_heading() == heading);
        let rows = rows.map(|arg| vec![spelling(arg), default(arg), description(arg)]);
        out.push_str(&table(&["Argument", "Default", "Description"], rows));
        out.push('\n');
    }
}

/// Flags that are accepted and ignored.
fn write_inert(command: &Command, out: &mut String) {
    let hidden = command.get_arguments().filter(|arg| arg.is_hide_set()).filter_map(Arg::get_long);
    let hidden: Vec<String> = hidden.map(|name| format!("`--{name}`")).collect();
    if !hidden.is_empty() {
        out.push_str(&format!("Accepted for compatibility, without effect or refused: {}.\n\n", hidden.join(", ")));
    }
}

/// `--name <VALUE>`, with aliases.
fn spelling(arg: &Arg) -> String {
    let value = arg.get_value_names().unwrap_or_default().iter().map(|name| format!("<{name}>")).collect::<String>();
    let takes_value = arg.get_action().takes_values();
    let is_switch = arg.get_num_args().is_some_and(|range| range.min_values() == 0);
    let spell = |name: &str| match takes_value && !is_switch {
        true => format!("`--{name} {value}`"),
        false => format!("`--{name}`"),
    };
    let Some(long) = arg.get_long() else { return format!("`{value}`") };
    let aliases = arg.get_all_aliases().unwrap_or_default();
    std::iter::once(long).chain(aliases).map(spell).collect::<Vec<_>>().join(", ")
}

/// The default value, or what the help says of it.
fn default(arg: &Arg) -> String {
    let values: Vec<String> =
        arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let stated = help(arg).rsplit_once("[default: ").map(|(_, text)| text.trim_end_matches(']').to_string());
    match (values.as_slice(), stated) {
        ([], Some(stated)) => stated,
        ([], None) => String::new(),
        (values, _) if values.iter().all(String::is_empty) => String::new(),
        (values, _) => format!("`{}`", values.join(",")),
    }
}

/// The help without its notes in brackets.
fn description(arg: &Arg) -> String {
    let help = help(arg);
    let text =
        ["[default: ", "[alias: "].iter().fold(help.as_str(), |text, note| text.split(note).next().unwrap_or(text));
    let values: Vec<String> = match arg.is_hide_possible_values_set() {
        true => Vec::new(),
        false => arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect(),
    };
    match values.is_empty() {
        true => sentence(text.to_string()),
        false => format!("{} One of {}.", sentence(text.to_string()), values.join(", ")),
    }
}

fn help(arg: &Arg) -> String {
    arg.get_help().map(ToString::to_string).unwrap_or_default()
}

fn about(command: &Command) -> String {
    command.get_about().map(ToString::to_string).unwrap_or_default()
}

/// Help has no full stop at its end; prose has.
fn sentence(text: String) -> String {
    match text.trim() {
        "" => String::new(),
        text if text.ends_with(['.', '?', '!']) => text.to_string(),
        text => format!("{text}."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_that_help_shows_has_a_row() {
        let text = reference();
        let command = Cli::command();
        let server = command.find_subcommand("server").unwrap();
        for arg in server.get_arguments().filter(|arg| !arg.is_hide_set()) {
            let Some(long) = arg.get_long() else { continue };
            assert!(text.contains(&format!("`--{long}")), "--{long} is missing");
        }
    }

    #[test]
    fn defaults_are_in_a_column_of_their_own() {
        let text = reference();
        assert!(text.contains("| `--query.timeout <DURATION>` | `2m` |"), "{text}");
        assert!(text.contains("| `--web.enable-lifecycle` | `false` |"), "{text}");
        assert!(!text.contains("[default: "), "{text}");
    }

    #[test]
    fn aliases_are_named() {
        assert!(reference().contains("`--storage.path <DIR>`, `--storage.tsdb.path <DIR>`"));
    }

    #[test]
    fn subcommands_have_headings() {
        let text = reference();
        for heading in ["## `pharos server`", "## `pharos cluster drain`", "## `pharos tool check config`"] {
            assert!(text.contains(heading), "{heading} is missing");
        }
    }

    #[test]
    fn hidden_commands_are_left_out() {
        assert!(!reference().contains("pharos tool docs"));
    }

    #[test]
    fn a_description_ends_with_one_full_stop() {
        assert_eq!(sentence("Serve it".to_string()), "Serve it.");
        assert_eq!(sentence("Serve it.".to_string()), "Serve it.");
        assert_eq!(sentence(String::new()), "");
    }
}
