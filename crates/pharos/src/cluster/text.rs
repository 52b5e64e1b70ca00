//! Renders the status of a cluster for a terminal.

use std::fmt::Write as _;

use pharos_config::ByteSize;
use pharos_gocompat::format_duration;

use super::drain::DrainStatus;
use super::health::{Severity, ranges};
use super::status::{ClusterStatus, ShardStatus};

/// A time in milliseconds as RFC 3339, to the second.
fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .map_or_else(|_| ms.to_string(), |t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// Aligns the columns of rows, of which the first is the header.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| cell.to_string()).collect()
}

/// The whole status. Healthy shards are only listed when `all_shards` is set.
pub(super) fn status(status: &ClusterStatus, all_shards: bool) -> String {
    let mut out = String::new();
    let cluster = if status.cluster.is_empty() { "(not bootstrapped)" } else { &status.cluster };
    // Writing to a string never fails.
    let _ = writeln!(out, "cluster {cluster}, view {}, as seen by node {}", status.version, status.node);
    let meta = &status.meta;
    let leader = meta.leader.as_deref().unwrap_or("no node");
    let _ = writeln!(
        out,
        "meta    {leader} leads, {} vote: {}; term {}, applied {}\n",
        meta.voters.len(),
        or_dash(&meta.voters.join(", ")),
        meta.term,
        meta.applied
    );
    out.push_str(&members(status));
    out.push('\n');
    out.push_str(&shards(status, all_shards));
    let scraping = &status.scraping;
    let _ = writeln!(
        out,
        "targets shared by {} agents: {} (epoch {})",
        scraping.agents.len(),
        or_dash(&scraping.agents.join(", ")),
        scraping.epoch
    );
    out.push_str(&catalogue(status));
    if status.problems.is_empty() {
        out.push_str("\nno problems\n");
    }
    for problem in &status.problems {
        let mark = match problem.severity {
            Severity::Critical => "CRITICAL",
            Severity::Warning => "WARNING",
            Severity::Note => "note",
        };
        let _ = writeln!(out, "\n{mark}: {}\n  -> {}", problem.what, problem.advice);
    }
    out
}

/// How far a clock is ahead, with its sign: `+12ms`, `-10s`.
fn clock_offset(ahead_ms: i64) -> String {
    let sign = if ahead_ms < 0 { '-' } else { '+' };
    format!("{sign}{}", format_duration(ahead_ms.saturating_abs()))
}

fn members(status: &ClusterStatus) -> String {
    let mut rows = vec![row(&[
        "NODE",
        "STATE",
        "SINCE",
        "ROLES",
        "ZONE",
        "VERSION",
        "SHARDS",
        "LEADS",
        "CLOCK",
        "CLUSTER ADDRESS",
        "API",
    ])];
    for member in &status.members {
        rows.push(row(&[
            &member.node,
            &member.state,
            &time(member.since_ms),
            &member.roles.join(","),
            or_dash(&member.zone),
            or_dash(&member.version),
            &member.replicas.to_string(),
            &member.leads.to_string(),
            &member.clock_offset_ms.map_or_else(|| "-".into(), clock_offset),
            or_dash(&member.address),
            or_dash(&member.http_address),
        ]));
    }
    table(&rows)
}

fn shards(status: &ClusterStatus, all: bool) -> String {
    let full =
        |shard: &&ShardStatus| shard.lagging.is_empty() && shard.in_sync.len() >= status.replication_factor as usize;
    let good = status.shards.iter().filter(full).count();
    let mut out = format!(
        "shards  {good} of {} have {} copies in sync; writes need {}\n",
        status.shard_count, status.replication_factor, status.min_in_sync
    );
    let shown: Vec<&ShardStatus> = status.shards.iter().filter(|shard| all || !full(shard)).collect();
    if !shown.is_empty() {
        let mut rows = vec![row(&["SHARD", "EPOCH", "LEADER", "IN SYNC", "LAGGING"])];
        rows.extend(shown.iter().map(|shard| {
            row(&[
                &shard.shard.to_string(),
                &shard.epoch.to_string(),
                shard.leader.as_deref().unwrap_or("-"),
                or_dash(&shard.in_sync.join(",")),
                or_dash(&shard.lagging.join(",")),
            ])
        }));
        out.push_str(&table(&rows));
    }
    for learning in &status.learning {
        let copied = learning.copied.map_or_else(String::new, |copied| {
            format!(", {} samples ({}) copied", copied.samples, ByteSize(copied.bytes))
        });
        let _ = writeln!(
            out,
            "node {} is catching up on shard {} since epoch {}{copied}",
            learning.node, learning.shard, learning.since
        );
    }
    out
}

fn catalogue(status: &ClusterStatus) -> String {
    let catalogue = &status.catalogue;
    let mut out = format!("blocks  {} of {} bytes, commit {}\n", catalogue.blocks, catalogue.bytes, catalogue.sequence);
    if !catalogue.tenants.is_empty() {
        let mut rows = vec![row(&["TENANT", "BLOCKS", "LATE", "BYTES", "SAMPLES", "IN BLOCKS UNTIL", "DELETIONS"])];
        rows.extend(catalogue.tenants.iter().map(|(name, tenant)| {
            row(&[
                name,
                &tenant.blocks.to_string(),
                &tenant.deltas.to_string(),
                &tenant.bytes.to_string(),
                &tenant.samples.to_string(),
                &tenant.boundary_ms.map_or_else(|| "-".into(), time),
                &tenant.deletions.to_string(),
            ])
        }));
        out.push_str(&table(&rows));
    }
    out
}

/// What a drain waits for on one line, then what an operator has to do.
pub(super) fn drain(drain: &DrainStatus) -> String {
    let mut line = format!("node {} ({}): {}", drain.node, drain.state, drain.waits_for.join("; "));
    for stuck in &drain.stuck {
        let _ = write!(line, "\n  -> {stuck}");
    }
    line
}

/// The shards of each ingester, and what moves.
pub(super) fn balance(status: &ClusterStatus) -> String {
    let mut rows = vec![row(&["NODE", "SHARDS", "LEADS"])];
    let ingesters = status.members.iter().filter(|m| m.replicas > 0 || m.roles.iter().any(|role| role == "ingester"));
    rows.extend(ingesters.map(|m| row(&[&m.node, &m.replicas.to_string(), &m.leads.to_string()])));
    let learning: Vec<u32> = status.learning.iter().map(|learning| learning.shard).collect();
    let moving = match learning.is_empty() {
        true => "no shard is being copied".to_string(),
        false => format!("shards {} are being copied", ranges(&learning)),
    };
    format!("{}{moving}, {} moves are due", table(&rows), status.moves)
}

#[cfg(test)]
mod tests {
    use super::super::health::Problem;
    use super::super::status::{Copied, Learning, MemberStatus, MetaStatus};
    use super::*;

    fn example() -> ClusterStatus {
        let member = |node: &str, replicas| MemberStatus {
            node: node.into(),
            state: "active".into(),
            since_ms: 1_700_000_000_000,
            roles: vec!["ingester".into(), "meta".into()],
            version: "0.1.0".into(),
            address: format!("{node}:7946"),
            replicas,
            clock_offset_ms: (node == "B").then_some(-10_250),
            ..MemberStatus::default()
        };
        let shard = |shard, lagging: &[&str]| ShardStatus {
            shard,
            epoch: 3,
            leader: Some("A".into()),
            in_sync: vec!["A".into()],
            lagging: row(lagging),
            ..ShardStatus::default()
        };
        ClusterStatus {
            cluster: "c".into(),
            node: "A".into(),
            shard_count: 2,
            replication_factor: 1,
            min_in_sync: 1,
            meta: MetaStatus { leader: Some("A".into()), voters: row(&["A"]), ..MetaStatus::default() },
            members: vec![member("A", 2), member("B", 1)],
            shards: vec![shard(0, &[]), shard(1, &["B"])],
            learning: vec![Learning {
                shard: 1,
                node: "B".into(),
                since: 3,
                copied: Some(Copied { samples: 7, bytes: 1024 }),
            }],
            problems: vec![Problem { severity: Severity::Critical, what: "w".into(), advice: "a".into() }],
            ..ClusterStatus::default()
        }
    }

    #[test]
    fn a_status_shows_members_shards_and_problems() {
        let text = status(&example(), false);
        assert!(text.starts_with("cluster c, view 0, as seen by node A\nmeta    A leads, 1 vote: A; term 0"), "{text}");
        assert!(
            text.contains("A     active  2023-11-14T22:13:20Z  ingester,meta  -     0.1.0    2       0      -  "),
            "{text}"
        );
        assert!(text.contains("  -10s250ms  B:7946"), "{text}");
        assert!(text.contains("shards  1 of 2 have 1 copies in sync"), "{text}");
        assert!(
            text.contains(
                "1      3      A       A        B\nnode B is catching up on shard 1 since epoch 3, 7 samples (1KiB) copied"
            ),
            "{text}"
        );
        assert!(text.ends_with("\nCRITICAL: w\n  -> a\n"), "{text}");
        assert!(status(&example(), true).contains("0      3      A       A        -\n"));
        assert!(status(&ClusterStatus::default(), false).ends_with("\nno problems\n"));
    }

    #[test]
    fn progress_fits_on_a_line() {
        let text = balance(&example());
        assert_eq!(
            text,
            "NODE  SHARDS  LEADS\nA     2       0\nB     1       0\nshards 1 are being copied, 0 moves are due"
        );
        let waiting = DrainStatus {
            node: "A".into(),
            state: "draining".into(),
            waits_for: row(&["x", "y"]),
            stuck: row(&["z"]),
            ..DrainStatus::default()
        };
        assert_eq!(drain(&waiting), "node A (draining): x; y\n  -> z");
    }
}
