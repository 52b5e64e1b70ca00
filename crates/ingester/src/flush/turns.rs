//! Which tenant flushes next. Pure: tenants and times go in.
//!
//! Tenants take turns, one window a turn, a few tenants at the same time. A tenant that fails waits by itself, so that its
//! failures delay nobody else.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use pharos_model::TenantId;

use super::backoff::Backoff;

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The tenant has nothing to do until it is offered again.
    Idle,
    /// The tenant has more to do.
    More,
    /// Something failed that the tenant's next window needs too.
    Failed,
}

/// The order of the tenants.
#[derive(Debug)]
pub(super) struct Turns {
    /// Limit of turns at the same time.
    most: usize,
    ready: VecDeque<TenantId>,
    /// The tenants that are ready or have their turn.
    known: HashSet<TenantId>,
    running: usize,
    backoffs: HashMap<TenantId, Backoff>,
}

impl Turns {
    /// No tenants yet. At most `most` turns run at the same time.
    pub(super) fn new(most: usize) -> Self {
        Turns { most, ready: VecDeque::new(), known: HashSet::new(), running: 0, backoffs: HashMap::new() }
    }

    /// Puts tenants at the end of the queue, except for those that are queued, running or waiting after a failure.
    pub(super) fn offer(&mut self, now: Duration, tenants: impl IntoIterator<Item = TenantId>) {
        for tenant in tenants {
            let waits = self.backoffs.get(&tenant).is_some_and(|backoff| !backoff.is_over(now));
            if !waits && self.known.insert(tenant.clone()) {
                self.ready.push_back(tenant);
            }
        }
    }

    /// Starts the next turn, if one may start.
    pub(super) fn start(&mut self) -> Option<TenantId> {
        if self.running >= self.most {
            return None;
        }
        let tenant = self.ready.pop_front()?;
        self.running += 1;
        Some(tenant)
    }

    /// Ends a turn. After a failure, returns how long the tenant waits.
    pub(super) fn end(&mut self, tenant: &TenantId, now: Duration, ended: Ended) -> Option<Duration> {
        self.running = self.running.saturating_sub(1);
        if ended == Ended::More {
            self.ready.push_back(tenant.clone());
        } else {
            self.known.remove(tenant);
        }
        if ended == Ended::Failed {
            return Some(self.backoffs.entry(tenant.clone()).or_default().failed(now));
        }
        self.backoffs.remove(tenant);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    fn offered(turns: &mut Turns, at: u64, names: &[&str]) {
        turns.offer(Duration::from_secs(at), names.iter().map(|name| tenant(name)));
    }

    fn started(turns: &mut Turns) -> Vec<String> {
        std::iter::from_fn(|| turns.start()).map(|tenant| tenant.as_str().to_string()).collect()
    }

    #[test]
    fn a_tenant_with_many_windows_lets_others_pass() {
        let mut turns = Turns::new(1);
        offered(&mut turns, 0, &["many", "few"]);
        assert_eq!(started(&mut turns), ["many"]);
        assert_eq!(started(&mut turns), [""; 0], "one at a time");
        turns.end(&tenant("many"), Duration::ZERO, Ended::More);
        assert_eq!(started(&mut turns), ["few"]);
        turns.end(&tenant("few"), Duration::ZERO, Ended::Idle);
        assert_eq!(started(&mut turns), ["many"]);
        turns.end(&tenant("many"), Duration::ZERO, Ended::Idle);
        assert_eq!(started(&mut turns), [""; 0]);
    }

    #[test]
    fn some_tenants_flush_at_the_same_time_but_none_twice() {
        let mut turns = Turns::new(2);
        offered(&mut turns, 0, &["a", "b", "c"]);
        assert_eq!(started(&mut turns), ["a", "b"]);
        offered(&mut turns, 1, &["a", "b", "c"]);
        turns.end(&tenant("b"), Duration::ZERO, Ended::Idle);
        assert_eq!(started(&mut turns), ["c"]);
    }

    #[test]
    fn a_tenant_that_fails_waits_alone_and_longer_each_time() {
        let mut turns = Turns::new(4);
        let fail = |turns: &mut Turns, at| turns.end(&tenant("bad"), Duration::from_secs(at), Ended::Failed);
        offered(&mut turns, 0, &["bad", "good"]);
        started(&mut turns);
        assert_eq!(fail(&mut turns, 0), Some(Duration::from_secs(1)));
        turns.end(&tenant("good"), Duration::ZERO, Ended::Idle);
        offered(&mut turns, 0, &["bad", "good"]);
        assert_eq!(started(&mut turns), ["good"]);
        offered(&mut turns, 1, &["bad"]);
        assert_eq!(started(&mut turns), ["bad"]);
        assert_eq!(fail(&mut turns, 1), Some(Duration::from_secs(2)));
        offered(&mut turns, 3, &["bad"]);
        assert_eq!(started(&mut turns), ["bad"]);
        turns.end(&tenant("bad"), Duration::from_secs(3), Ended::Idle);
        offered(&mut turns, 3, &["bad"]);
        assert_eq!(started(&mut turns), ["bad"], "a success ends the back-off");
    }
}
