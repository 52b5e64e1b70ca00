//! The limit of open files: raised as far as the system allows, and divided between connections and everything else.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are kept for the log, blocks, scrapes and other nodes.
const RESERVED: u64 = 256;

/// Raises the soft limit of open files to the hard one. Returns how many connections may be open at a time: `wanted`, or
/// fewer where the limit leaves too few files for the rest.
pub(super) fn connections(wanted: usize) -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            current
        }
    };
    let affordable = raised.map_or(wanted, |limit| affordable(wanted, limit));
    if affordable < wanted {
        tracing::warn!(
            limit = raised,
            connections = affordable,
            "accepting fewer connections than --web.max-connections, because the limit of open files is low; raise it, for example with ulimit -n"
        );
    }
    affordable
}

/// The connections that a limit of open files leaves room for: at least half of it is for other files while it is low.
fn affordable(wanted: usize, limit: u64) -> usize {
    let room = limit.saturating_sub(RESERVED).max(limit / 2);
    wanted.min(usize::try_from(room).unwrap_or(usize::MAX)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_limit_leaves_files_for_the_log() {
        for (limit, connections) in [(u64::MAX, 512), (1024, 512), (768, 512), (700, 444), (256, 128), (1, 1)] {
            assert_eq!(affordable(512, limit), connections, "limit {limit}");
        }
    }

    #[test]
    fn the_soft_limit_is_raised() {
        connections(1);
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert_eq!(current, maximum);
    }
}
