//! Command lines as users type them.

use std::time::Duration;

use pharos_config::ByteSize;

use super::*;

fn server(args: &[&str]) -> ServerArgs {
    let args = ["pharos"].iter().chain(args);
    match Cli::try_parse_from_args(args).unwrap().command {
        Command::Server(server) => *server,
        other => panic!("{other:?}"),
    }
}

fn refusal(args: &[&str]) -> String {
    let error = Cli::try_parse_from_args(["pharos"].iter().chain(args)).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    error.to_string()
}

fn help(args: &[&str]) -> String {
    let error = Cli::try_parse_from_args(["pharos"].iter().chain(args)).unwrap_err();
    assert_eq!(error.exit_code(), 0);
    error.to_string()
}

#[test]
fn defaults_are_those_of_prometheus() {
    for args in [&[][..], &["server"]] {
        let server = server(args);
        assert_eq!(server.config_file, None);
        assert_eq!(server.web.listen_address, ["0.0.0.0:9090".parse().unwrap()]);
        assert_eq!(server.storage.path.to_str(), Some("data/"));
        assert_eq!(server.storage.min_block_duration, Duration::from_secs(7200));
        assert!(!server.storage.is_window_given);
        assert_eq!(server.query.lookback_delta, Duration::from_secs(300));
        assert_eq!(server.query.timeout, Duration::from_secs(120));
        assert_eq!((server.query.max_samples, server.query.max_concurrency), (50_000_000, 20));
        assert_eq!((server.web.max_connections, server.web.read_timeout), (512, Duration::from_secs(300)));
        assert_eq!((server.log.level, server.log.format), (LogLevel::Info, LogFormat::Logfmt));
        assert!(server.web.enable_remote_write_receiver && server.web.enable_otlp_receiver);
        assert!(!server.web.enable_lifecycle && !server.web.enable_admin_api && server.roles.is_all());
        assert!(server.warnings().is_empty());
    }
}

#[test]
fn a_secret_on_the_command_line_is_warned_of() {
    let warnings = server(&["--cluster.token=secret"]).warnings();
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("--cluster.token-file") && !warnings[0].contains("secret:"), "{warnings:?}");
    assert!(server(&["--cluster.token-file=token"]).warnings().is_empty());
}

#[test]
fn flags_of_prometheus_work_without_a_subcommand() {
    let server = server(&[
        "--config.file=prometheus.yml",
        "--storage.tsdb.path",
        "/tmp/x",
        "--storage.tsdb.min-block-duration=1m",
        "--storage.tsdb.retention.time=15d",
        "--storage.tsdb.retention.size=512MB",
        "--web.listen-address=127.0.0.1:1",
        "--web.listen-address=:2",
        "--web.enable-lifecycle",
        "--web.external-url=http://example.com/pharos/",
        "--query.max-samples=5e7",
        "--log.level=debug",
        "--log.format=json",
        "--enable-feature=exemplar-storage,native-histograms",
        "--enable-feature=promql-experimental-functions",
    ]);
    assert_eq!(server.config_file.as_deref().unwrap().to_str(), Some("prometheus.yml"));
    assert_eq!(server.storage.path.to_str(), Some("/tmp/x"));
    assert_eq!(server.storage.min_block_duration, Duration::from_secs(60));
    assert!(server.storage.is_window_given);
    assert_eq!(server.storage.retention_time, Some(Duration::from_secs(15 * 86_400)));
    assert_eq!(server.storage.retention_size, Some(ByteSize(512 << 20)));
    assert_eq!(server.web.listen_address.len(), 2);
    assert!(server.web.enable_lifecycle);
    assert_eq!(server.web.route_prefix(), "/pharos");
    assert_eq!(server.web.external_url(), "http://example.com/pharos");
    assert_eq!(server.query.max_samples, 50_000_000);
    assert_eq!((server.log.level, server.log.format), (LogLevel::Debug, LogFormat::Json));
    assert!(server.features().has("native-histograms") && server.features().has("promql-experimental-functions"));
}

#[test]
fn switches_accept_a_value_or_the_prefix_no() {
    for off in ["--web.enable-remote-write-receiver=false", "--no-web.enable-remote-write-receiver"] {
        assert!(!server(&[off]).web.enable_remote_write_receiver, "{off}");
    }
    for on in ["--web.enable-remote-write-receiver", "--web.enable-remote-write-receiver=true"] {
        assert!(server(&[on]).web.enable_remote_write_receiver, "{on}");
    }
    // A switch never eats the next argument.
    assert_eq!(server(&["--web.enable-lifecycle", "--log.level", "warn"]).log.level, LogLevel::Warn);
}

#[test]
fn all_flags_have_a_text_for_the_status_page() {
    let server =
        server(&["--storage.path=/x", "--web.listen-address=:1", "--web.listen-address=:2", "--web.enable-lifecycle"]);
    let flags = server.flags();
    for (name, value) in [
        ("storage.tsdb.path", "/x"),
        ("storage.path", "/x"),
        ("web.listen-address", ":1,:2"),
        ("web.enable-lifecycle", "true"),
        ("web.enable-admin-api", "false"),
        ("query.timeout", "2m"),
        ("config.file", ""),
        ("log.level", "info"),
        ("auto-gomemlimit", "true"),
        ("storage.tsdb.no-lockfile", "false"),
        ("rules.alert.resend-delay", "1m"),
    ] {
        assert_eq!(flags.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!flags.contains_key("help"));
}

#[test]
fn the_status_page_shows_values_in_force_that_the_command_line_leaves_out() {
    let value = |args: &[&str], retention: Option<u64>, name: &str| {
        server(args).flags_in_force(retention.map(Duration::from_secs), None)[name].clone()
    };
    let fortnight = Some(15 * 86_400);
    assert_eq!(value(&[], fortnight, "storage.tsdb.retention.time"), "15d");
    assert_eq!(value(&[], None, "storage.tsdb.retention.time"), "0s");
    assert_eq!(value(&[], None, "storage.tsdb.retention.size"), "0B");
    assert_eq!(value(&[], fortnight, "storage.tsdb.max-block-duration"), "1d12h");
    assert_eq!(value(&["--storage.tsdb.max-block-duration=2h"], None, "storage.tsdb.max-block-duration"), "2h");
    assert_eq!(value(&[], None, "web.route-prefix"), "/");
    assert_eq!(value(&["--web.external-url=http://a/b/"], None, "web.route-prefix"), "/b");
}

#[test]
fn errors_name_the_flag_and_what_was_meant() {
    for (args, parts) in [
        (&["--web.listen-adress=:1"][..], &["unexpected argument '--web.listen-adress'", "'--web.listen-address'"][..]),
        (&["--config.flie", "x"], &["unexpected argument '--config.flie'", "'--config.file'"]),
        (&["-config.file=x"], &["unexpected argument '-config.file': flags take two dashes, write '--config.file'"]),
        (
            &["--query.timeout=2x"],
            &["invalid value '2x' for '--query.timeout", "unknown unit \"x\" in duration \"2x\""],
        ),
        (&["--query.timeout=0s"], &["must be longer than 0s"]),
        (&["--log.level=loud"], &["[possible values: debug, info, warn, error]"]),
        (&["--web.external-url=ftp://x"], &["unsupported scheme \"ftp\""]),
        (&["--web.cors.origin=("], &["regex parse error"]),
        (&["--storage.tsdb.retention.size=5"], &["not a size: \"5\""]),
        (&["--roles=scraper"], &["unknown role \"scraper\""]),
        (&["--roles=agent"], &["without the meta role", "--join=HOST:PORT"]),
        (&["--roles=alertmanager", "--join=m:1"], &["the role alertmanager needs --alertmanager.config-file=FILE"]),
        (&["--join=a"], &["\"a\" is not a cluster address"]),
        (&["--tls.cert-file=a"], &["--tls.key-file", "--tls.ca-file"]),
        (&["--storage.tsdb.max-block-duration=1h"], &["--storage.tsdb.max-block-duration is shorter"]),
        (&["--web.config.file=web.yml"], &["--web.config.file is not supported: the listener has no TLS"]),
        (&["--agent"], &["--agent is not supported"]),
        (&["--web.enable-lifecycle=maybe"], &["invalid value 'maybe'"]),
        (&["serve"], &["unexpected argument 'serve'"]),
        (&["tool", "check", "config"], &["<FILE>..."]),
    ] {
        let text = refusal(args);
        for part in parts {
            assert!(text.contains(part), "{args:?}: {text}");
        }
    }
}

#[test]
fn inert_flags_are_accepted_with_a_warning() {
    let server = server(&[
        "--auto-gomemlimit.ratio=0.8",
        "--no-auto-gomemlimit",
        "--storage.tsdb.wal-compression",
        "--web.config.file=",
        "--no-agent",
        "--enable-feature=nonsense",
    ]);
    assert_eq!(
        server.warnings(),
        [
            "--auto-gomemlimit has no effect in Pharos",
            "--auto-gomemlimit.ratio has no effect in Pharos",
            "--storage.tsdb.wal-compression has no effect in Pharos",
            "unknown feature \"nonsense\" in --enable-feature",
        ]
    );
}

#[test]
fn a_node_is_alone_unless_others_can_reach_it() {
    assert!(server(&[]).is_alone() && !server(&["--roles=meta"]).is_alone());
    assert!(!server(&["--cluster.listen-address=127.0.0.1:0"]).is_alone());
    let joining = server(&["--roles=ingester,agent", "--join=a:1,b:2", "--join=b:2", "--cluster.token=secret"]);
    assert!(!joining.is_alone());
    assert_eq!(joining.cluster.join, ["a:1", "b:2", "b:2"]);
    assert_eq!(joining.flags()["cluster.token"], "<secret>");
    assert_eq!(joining.cluster.catch_up_rate.0, 64 << 20);
    assert_eq!(server(&["--cluster.catch-up-rate=0B"]).cluster.catch_up_rate.0, 0);
    let founders = |flags: &[&str]| server(flags).cluster.founders();
    assert_eq!(founders(&[]), 1);
    assert_eq!(founders(&["--join=a:1"]), 2, "a node that joins another one does not bootstrap a cluster alone");
    assert_eq!(founders(&["--join=a:1,b:1,c:1"]), 3);
    assert_eq!(founders(&["--join=a:1", "--cluster.expect=1"]), 1);
}

#[test]
fn every_flag_of_prometheus_is_accepted() {
    const NAMES: &str = include_str!("prometheus_flags.txt");
    let command = Cli::command();
    let server = server_command(&command);
    let known = |name: &str| {
        server.get_arguments().any(|arg| {
            arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
        })
    };
    let missing: Vec<&str> = NAMES.lines().filter(|name| !known(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn help_has_headings_and_hides_inert_flags() {
    let text = help(&["server", "--help"]);
    let headings: Vec<&str> = text.lines().filter(|line| line.ends_with(':') && !line.starts_with(' ')).collect();
    assert_eq!(
        headings,
        [
            "Options:",
            "Web: addresses and endpoints (--web.listen-address=:9090 --web.enable-lifecycle):",
            "Storage: where samples live and how long (--storage.path=/var/lib/pharos):",
            "Query: what one query may cost (--query.timeout=30s):",
            "Rules: how rules are evaluated and alerts are sent (--rules.alert.resend-delay=5m):",
            "Cluster: how nodes find and trust each other (--roles=ingester --join=meta-1:7946):",
            "Alertmanager: notify receivers (--alertmanager.config-file=alertmanager.yml):",
            "Log: what is written to stderr (--log.level=debug --log.format=json):",
        ]
    );
    assert!(text.contains("[default: 2h]") && !text.contains("gomemlimit"));
    let text = help(&["--help"]);
    assert!(text.contains("pharos server --help") && text.contains("Examples:"));
}

#[test]
fn version_is_printed_in_both_places() {
    let expected = format!("pharos {}", env!("CARGO_PKG_VERSION"));
    assert!(help(&["--version"]).starts_with(&expected));
    assert!(help(&["server", "--version"]).starts_with("pharos-server"));
}

#[test]
fn the_alertmanager_takes_the_flags_of_alertmanager() {
    let parse = |flags: &[&str]| Cli::try_parse_from_args(["pharos", "alertmanager"].iter().chain(flags));
    let flags = ["--config.file=a.yml", "--storage.path", "/d", "--cluster.peer=b:9094", "--cluster.peer=c:9094"];
    let more =
        ["--web.listen-address=127.0.0.1:0", "--cluster.listen-address=", "--no-log.silences", "--log.level=debug"];
    let cli = parse(&[&flags[..], &more[..], &["--cluster.gossip-interval=1s"]].concat()).unwrap();
    let Command::Alertmanager(args) = cli.command else { panic!("{:?}", cli.command) };
    assert_eq!((args.cluster.peers.len(), args.cluster.listen_address.as_str()), (2, ""));
    assert_eq!((args.data.retention.as_secs(), args.data.log_silences), (120 * 3600, false));
    assert_eq!(args.inert.without_effect(), ["cluster.gossip-interval"]);
    for (flag, reason) in [
        ("--web.config.file=web.yml", "--web.config.file is not supported: the listener has no TLS"),
        ("--cluster.tls-config=tls.yml", "--cluster.tls-config is not supported"),
        ("--web.cors.origin=(", "error parsing regexp: missing closing )"),
        ("--data.retention=soon", "not a valid duration string"),
    ] {
        let error = parse(&[flag]).map(drop).unwrap_err().to_string();
        assert!(error.contains(reason), "{flag}: {error}");
    }
}

#[test]
fn tool_commands_are_parsed() {
    let cli = Cli::try_parse_from_args(["pharos", "tool", "check", "config", "a.yml", "b.yml"]).unwrap();
    match cli.command {
        Command::Tool(ToolCommand::Check(CheckCommand::Config { files })) => assert_eq!(files.len(), 2),
        other => panic!("{other:?}"),
    }
    let cli = Cli::try_parse_from_args(["pharos", "tool", "wal", "repair", "data/wal"]).unwrap();
    assert!(matches!(cli.command, Command::Tool(ToolCommand::Wal(WalCommand::Repair { .. }))));
}

#[test]
fn the_version_is_printed_by_a_subcommand_and_by_a_flag() {
    assert_eq!(help(&["version"]), help(&["--version"]));
    assert!(help(&["version"]).contains(env!("CARGO_PKG_VERSION")));
}
