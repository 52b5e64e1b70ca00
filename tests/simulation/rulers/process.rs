//! A node with the ruler role: the production ruler and client of meta, started and stopped in the order of
//! `pharos/src/server`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pharos_cluster::{DEFAULT_WEIGHT, Member, MemberState, Meta, Role};
use pharos_model::{Clock, TenantId};
use pharos_ruler::{AlertSink, OutgoingAlert, Ownership, RuleFile, RuleSet, Ruler, RulerComponents, RulerConfig};
use pharos_rules::{GroupOptions, RuleGroups};
use prometheus::Registry;
use tokio::sync::watch;

use super::ledger::{Ledger, Store};
use super::{GROUPS, interval_ms};
use crate::bugs::Bug;
use crate::env::{Env, NodeClock};
use crate::meta::ADDRESSES;
use crate::network::{Network, Process};

/// What rulers are made of.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) env: Env,
    pub(crate) network: Network,
    pub(crate) ledger: Ledger,
    pub(crate) bug: Option<Bug>,
}

/// The rules; `version` changes an expression.
pub(crate) fn rules(version: u64) -> RuleSet {
    let group = |n: usize| {
        format!(
            "- name: g{n}\n  interval: {}ms\n  rules:\n  - {{record: 'g{n}:up', expr: 'vector({version})'}}\n",
            interval_ms(n)
        )
    };
    let text: String = std::iter::once("groups:\n".to_string()).chain((0..GROUPS).map(group)).collect();
    let groups = RuleGroups::parse(&text, false).unwrap();
    let files = vec![Arc::new(RuleFile { tenant: TenantId::default(), path: "r".into(), groups })];
    RuleSet { files, options: GroupOptions { interval_ms: 1000, ..GroupOptions::default() } }
}

/// Alerts go nowhere: there are none.
struct NoAlerts;

impl AlertSink for NoAlerts {
    fn send(&self, _: &TenantId, _: &[OutgoingAlert]) {}
}

/// A process of a ruler.
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) meta: Arc<Meta>,
    pub(crate) registry: Registry,
    ruler: Arc<Mutex<Option<Arc<Ruler>>>>,
    stop: watch::Sender<bool>,
    /// Whether it is a member and evaluates what it owns.
    serves: Arc<AtomicBool>,
}

impl Running {
    /// Starts a process whose wall clock is ahead by some time.
    pub(crate) fn start(around: &Surroundings, name: &str, ahead_ms: &Arc<AtomicI64>) -> Running {
        let process = Process::new(name);
        let clock = NodeClock::new(ahead_ms.clone());
        let addresses = ADDRESSES.iter().map(ToString::to_string).collect();
        let link = around.network.link(&process);
        let meta = Arc::new(Meta::connect(name, addresses, link, clock));
        let (stop, stopped) = watch::channel(false);
        let (registry, ruler, serves) = (Registry::new(), Arc::default(), Arc::default());
        let running = Running { process, meta, registry, ruler, stop, serves };
        tokio::spawn(running.boot(around).run(stopped));
        running
    }

    fn boot(&self, around: &Surroundings) -> Boot {
        Boot {
            around: around.clone(),
            process: self.process.clone(),
            meta: self.meta.clone(),
            registry: self.registry.clone(),
            ruler: self.ruler.clone(),
            serves: self.serves.clone(),
        }
    }

    /// Whether it is a member that has heard of the others and evaluates what it owns.
    pub(crate) fn serves(&self) -> bool {
        self.serves.load(Ordering::Relaxed) && self.meta.contact().borrow().is_some()
    }

    pub(crate) fn reload(&self, version: u64) {
        if let Some(ruler) = &*self.ruler.lock() {
            ruler.reload(rules(version));
        }
    }

    /// Ends the process at once.
    pub(crate) fn crash(self) {
        self.process.end();
        self.stop.send_replace(true);
        // The tasks that are left reach nobody and end by themselves.
        tokio::spawn(async move { self.meta.shutdown().await });
    }

    /// Stops the process in order: leaves, hands its groups over, and ends. Returns whether others knew that it leaves.
    pub(crate) async fn stop(self, bug: Option<Bug>) -> bool {
        let leaving = self.meta.leave(&self.process.name);
        let has_left = matches!(tokio::time::timeout(Duration::from_secs(5), leaving).await, Ok(Ok(_)));
        let ruler = self.ruler.lock().clone();
        if has_left
            && bug != Some(Bug::RulersLeaveAtOnce)
            && let Some(ruler) = ruler
        {
            let _late = tokio::time::timeout(Duration::from_secs(10), ruler.hand_off()).await;
        }
        self.crash();
        has_left
    }
}

/// The start of a process.
struct Boot {
    around: Surroundings,
    process: Process,
    meta: Arc<Meta>,
    registry: Registry,
    ruler: Arc<Mutex<Option<Arc<Ruler>>>>,
    serves: Arc<AtomicBool>,
}

impl Boot {
    async fn run(self, stopped: watch::Receiver<bool>) {
        let mut stop = stopped.clone();
        let serving = async {
            self.meta.ready().await;
            let ruler = self.create();
            *self.ruler.lock() = Some(ruler.clone());
            let evaluating = tokio::spawn(ruler.run(stopped.clone()));
            let join = async {
                while let Err(error) = self.meta.join(self.member()).await {
                    self.around.env.note(format!("{} waits for meta: {error}", self.process.name));
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                self.serves.store(true, Ordering::Relaxed);
                self.around.env.note(format!("{} serves", self.process.name));
            };
            _ = tokio::join!(join, evaluating);
        };
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            () = serving => {}
        }
    }

    fn create(&self) -> Arc<Ruler> {
        let config = RulerConfig {
            outage_tolerance: Duration::from_secs(3600),
            grace_period: Duration::from_secs(600),
            resend_delay: Duration::from_secs(60),
            max_concurrent_evals: None,
        };
        let store = Arc::new(Store {
            ledger: self.around.ledger.clone(),
            process: self.process.clone(),
            is_blind: self.around.bug == Some(Bug::LossesAreNotCounted),
        });
        let clock: Arc<dyn Clock> = self.meta.cluster_clock().clone();
        let components = RulerComponents {
            engine: store.clone(),
            ingest: store,
            alerts: Arc::new(NoAlerts),
            ownership: Ownership::in_cluster(&self.process.name, &self.meta),
            clock,
            registry: self.registry.clone(),
        };
        Ruler::create(config, components, rules(0)).unwrap()
    }

    fn member(&self) -> Member {
        Member {
            id: self.process.name.clone(),
            address: self.process.name.clone(),
            roles: BTreeSet::from([Role::Ruler]),
            weight: DEFAULT_WEIGHT,
            state: MemberState::Active,
            ..Member::default()
        }
    }
}
