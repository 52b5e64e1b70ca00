//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Puts a synthetic fleet on a Prometheus-compatible server and checks what comes back.
#[derive(Parser, Debug)]
#[command(name = "loadgen")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Remote-write the fleet's samples in time order, as fast as the server accepts them.
    Write(WriteArgs),
    /// Serve every host of the fleet as a scrape target under /host/<number>/metrics.
    Exporters(ExportersArgs),
    /// Time each query of a file and print one JSON object per query.
    Query(QueryArgs),
    /// Read back every sample of the fleet and compare it with what `write` sent.
    Verify(VerifyArgs),
    /// Print the number of series of a host.
    Series,
}

/// The hosts of the fleet that a command covers.
#[derive(Args, Debug, Clone, Copy)]
pub(crate) struct HostArgs {
    /// Number of hosts.
    #[arg(long, default_value_t = 100)]
    pub(crate) hosts: u64,
    /// Number of the first host.
    #[arg(long, default_value_t = 0)]
    pub(crate) first_host: u64,
}

impl HostArgs {
    /// The numbers of the hosts.
    pub(crate) fn range(self) -> std::ops::Range<u64> {
        self.first_host..self.first_host.saturating_add(self.hosts)
    }
}

/// Arguments of `write`.
#[derive(Args, Debug)]
pub(crate) struct WriteArgs {
    /// Remote-write endpoint.
    #[arg(long)]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) hosts: HostArgs,
    /// Samples per series.
    #[arg(long, default_value_t = 240)]
    pub(crate) steps: u64,
    /// Seconds between two samples of a series.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) interval: u64,
    /// Time of the last sample in Unix seconds, rounded down to the interval. Defaults to the current time.
    #[arg(long)]
    pub(crate) end: Option<i64>,
    /// Requests in flight. Each series belongs to one of them, so its samples stay in order.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) concurrency: u64,
    /// Samples per request.
    #[arg(long, default_value_t = 5000)]
    pub(crate) batch: u64,
    /// Samples of one series per request.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) samples_per_series: u64,
    /// Tenant to write to (X-Scope-OrgID).
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// Server process whose CPU time and peak memory are reported. Repeatable.
    #[arg(long)]
    pub(crate) pid: Vec<u32>,
    /// Stop after this many seconds, even if samples are left.
    #[arg(long)]
    pub(crate) limit_s: Option<u64>,
}

/// Arguments of `exporters`.
#[derive(Args, Debug)]
pub(crate) struct ExportersArgs {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:9900")]
    pub(crate) listen: String,
    /// Seconds between two changes of the exposed values.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) interval: u64,
}

/// Arguments of `query`.
#[derive(Args, Debug)]
pub(crate) struct QueryArgs {
    /// Server, without /api/v1.
    #[arg(long)]
    pub(crate) url: String,
    /// File with one `name<TAB>query` per line. Names that begin with `instant` run as instant queries, all others as
    /// range queries.
    #[arg(long)]
    pub(crate) file: PathBuf,
    /// Time at which queries end, in Unix seconds.
    #[arg(long)]
    pub(crate) end: i64,
    /// Seconds that a range query covers.
    #[arg(long, default_value_t = 3600)]
    pub(crate) range: i64,
    /// Seconds between two steps of a range query.
    #[arg(long, default_value_t = 60)]
    pub(crate) step: i64,
    /// Timed runs per query.
    #[arg(long, default_value_t = 5)]
    pub(crate) repeat: u32,
    /// Untimed runs before them.
    #[arg(long, default_value_t = 1)]
    pub(crate) warmup: u32,
    /// Tenant to query (X-Scope-OrgID).
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// Send nocache=1, which VictoriaMetrics and Cortex honour.
    #[arg(long)]
    pub(crate) nocache: bool,
    /// Server process whose CPU time is reported. Repeatable.
    #[arg(long)]
    pub(crate) pid: Vec<u32>,
    /// Folder that keeps the first response of each query as <name>.json.
    #[arg(long)]
    pub(crate) keep: Option<PathBuf>,
}

/// Arguments of `verify`: those of the `write` that it checks.
#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// Server, without /api/v1.
    #[arg(long)]
    pub(crate) url: String,
    #[command(flatten)]
    pub(crate) hosts: HostArgs,
    /// Samples per series.
    #[arg(long, default_value_t = 240)]
    pub(crate) steps: u64,
    /// Seconds between two samples of a series.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) interval: u64,
    /// Time of the last sample in Unix seconds, rounded down to the interval.
    #[arg(long)]
    pub(crate) end: i64,
    /// Tenant to read from (X-Scope-OrgID).
    #[arg(long)]
    pub(crate) tenant: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Cli::try_parse_from(line.split(' ')).map(|cli| cli.command)
    }

    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn write_and_verify_default_to_the_same_samples() {
        let Ok(Command::Write(write)) = parse("loadgen write --url u") else { panic!("write is not parsed") };
        let Ok(Command::Verify(verify)) = parse("loadgen verify --url u --end 0") else {
            panic!("verify is not parsed")
        };
        assert_eq!(write.hosts.range(), verify.hosts.range());
        assert_eq!(write.steps, verify.steps);
        assert_eq!(write.interval, verify.interval);
    }

    #[test]
    fn pid_is_repeatable() {
        let Ok(Command::Write(write)) = parse("loadgen write --url u --pid 1 --pid 2") else { panic!("not parsed") };
        assert_eq!(write.pid, [1, 2]);
    }

    #[test]
    fn an_interval_of_zero_is_refused() {
        assert!(parse("loadgen write --url u --interval 0").is_err());
        assert!(parse("loadgen verify --url u --end 0 --interval 0").is_err());
        assert!(parse("loadgen exporters --interval 0").is_err());
    }

    #[test]
    fn hosts_count_from_the_first_one() {
        let hosts = HostArgs { hosts: 3, first_host: 40 };
        assert_eq!(hosts.range().collect::<Vec<_>>(), [40, 41, 42]);
    }
}
