//! Flags of Prometheus without an effect in Pharos. They are accepted with a warning, so that existing command lines work.
//! Flags that would be dangerous to ignore are refused.

use clap::builder::BoolishValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

/// How a flag is handled when it is given.
#[derive(Clone, Copy)]
enum Handling {
    /// Accepted: it tunes the Go runtime or Prometheus's storage engine.
    NoMeaning,
    /// Accepted: a later release implements it. Holds the reason.
    Later(&'static str),
    /// Refused. Holds the reason.
    Refused(&'static str),
}

use Handling::{Later, NoMeaning, Refused};

const SWITCH: bool = true;
const VALUE: bool = false;
const OPEN_LISTENER: Handling = Refused("the listener has no TLS or authentication yet; put a proxy in front of it");
const AGENT_MODE: Handling = Refused("there is no agent mode yet; run the server instead");

/// The name, whether it is a switch, the default that Prometheus has, and how it is handled.
const FLAGS: &[(&str, bool, &str, Handling)] = &[
    ("agent", SWITCH, "false", AGENT_MODE),
    ("auto-gomaxprocs", SWITCH, "true", NoMeaning),
    ("auto-gomemlimit", SWITCH, "true", NoMeaning),
    ("auto-gomemlimit.ratio", VALUE, "0.9", NoMeaning),
    ("auto-gomemlimit.refresh-interval", VALUE, "0s", NoMeaning),
    ("scrape.adjust-timestamps", SWITCH, "true", NoMeaning),
    ("scrape.discovery-reload-interval", VALUE, "5s", NoMeaning),
    ("scrape.timestamp-tolerance", VALUE, "2ms", NoMeaning),
    ("storage.agent.checkpoint-batch-size", VALUE, "1000", AGENT_MODE),
    ("storage.agent.checkpoint-from-in-memory-series", SWITCH, "false", AGENT_MODE),
    ("storage.agent.no-lockfile", SWITCH, "false", AGENT_MODE),
    ("storage.agent.path", VALUE, "data-agent/", AGENT_MODE),
    ("storage.agent.retention.max-time", VALUE, "4h", AGENT_MODE),
    ("storage.agent.retention.min-time", VALUE, "5m", AGENT_MODE),
    ("storage.agent.wal-compression", SWITCH, "true", AGENT_MODE),
    ("storage.agent.wal-compression-type", VALUE, "snappy", AGENT_MODE),
    ("storage.agent.wal-segment-size", VALUE, "0B", AGENT_MODE),
    ("storage.agent.wal-truncate-frequency", VALUE, "0s", AGENT_MODE),
    ("storage.remote.flush-deadline", VALUE, "1m", Later("samples are not sent to remote_write yet")),
    ("storage.tsdb.allow-overlapping-blocks", SWITCH, "true", NoMeaning),
    ("storage.tsdb.allow-overlapping-compaction", SWITCH, "true", NoMeaning),
    ("storage.tsdb.block-reload-interval", VALUE, "1m", NoMeaning),
    ("storage.tsdb.delay-compact-file.path", VALUE, "", NoMeaning),
    ("storage.tsdb.delayed-compaction.max-percent", VALUE, "10", NoMeaning),
    ("storage.tsdb.head-chunks-write-queue-size", VALUE, "0", NoMeaning),
    ("storage.tsdb.max-block-chunk-segment-size", VALUE, "0B", NoMeaning),
    ("storage.tsdb.no-lockfile", SWITCH, "false", NoMeaning),
    ("storage.tsdb.samples-per-chunk", VALUE, "120", NoMeaning),
    ("storage.tsdb.wal-compression", SWITCH, "true", NoMeaning),
    ("storage.tsdb.wal-compression-type", VALUE, "snappy", NoMeaning),
    ("storage.tsdb.wal-segment-size", VALUE, "0B", NoMeaning),
    ("web.config.file", VALUE, "", OPEN_LISTENER),
    ("web.console.libraries", VALUE, "console_libraries", NoMeaning),
    ("web.console.templates", VALUE, "consoles", NoMeaning),
    ("web.user-assets", VALUE, "", NoMeaning),
];

/// The default of an inert flag; `None` for other flags.
pub(super) fn default_of(name: &str) -> Option<&'static str> {
    FLAGS.iter().find(|(flag, ..)| *flag == name).map(|(_, _, default, _)| *default)
}

/// Inert flags on the command line.
#[derive(Clone, Debug, Default)]
pub struct InertFlags {
    /// One line per flag, to log at startup.
    pub warnings: Vec<String>,
}

impl Args for InertFlags {
    fn augment_args(mut command: Command) -> Command {
        for (name, is_switch, ..) in FLAGS {
            let arg = Arg::new(*name).long(*name).hide(true).action(ArgAction::Set);
            command = command.arg(match *is_switch {
                SWITCH => arg
                    .num_args(0..=1)
                    .require_equals(true)
                    .default_missing_value("true")
                    .value_parser(BoolishValueParser::new()),
                VALUE => arg,
            });
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for InertFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = InertFlags::default();
        given.update_from_arg_matches(matches)?;
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (name, is_switch, _, handling) in FLAGS {
            let Some(mut raw) = matches.get_raw(name) else { continue };
            let switched_off = *is_switch && matches.get_one::<bool>(name) == Some(&false);
            let empty = raw.next().is_none_or(|value| value.is_empty());
            match handling {
                Refused(_) if switched_off || empty => {}
                Refused(reason) => {
                    let message = format!("--{name} is not supported: {reason}\n");
                    return Err(clap::Error::raw(clap::error::ErrorKind::ValueValidation, message));
                }
                NoMeaning => self.warnings.push(format!("--{name} has no effect in Pharos")),
                Later(reason) => self.warnings.push(format!("--{name} has no effect in this release: {reason}")),
            }
        }
        Ok(())
    }
}
