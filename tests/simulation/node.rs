//! A node with the ingester role: the production ingester over a simulated disk, bucket, network and clock, started and stopped
//! in the order of `pharos/src/server`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use pharos_cluster::{Command, DEFAULT_WEIGHT, Member, MemberState, Meta, Role};
use pharos_head::{Head, HeadConfig};
use pharos_ingester::{Ingester, IngesterConfig};
use pharos_model::Clock;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::service::Routes;

use crate::bugs::Bug;
use crate::disk::{Disk, DiskFs};
use crate::env::{Env, Ms, NodeClock};
use crate::invariants::Memory;
use crate::meta::{ADDRESSES, Group};
use crate::model::{Key, Value};
use crate::network::{Network, Process};
use crate::objects::Bucket;
use crate::{FORGET_AFTER, GRACE, OUT_OF_ORDER_MS, SHARDS};

/// What nodes are made of.
#[derive(Clone)]
pub(crate) struct Surroundings {
    pub(crate) env: Env,
    pub(crate) network: Network,
    pub(crate) bucket: Bucket,
    /// What meta has agreed on, as nobody but planted bugs may know it.
    pub(crate) group: Group,
    pub(crate) bug: Option<Bug>,
    /// Whether each shard has several replicas.
    pub(crate) has_replicas: bool,
}

/// A node. Its disk outlives its processes.
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) disk: Disk,
    /// How far its wall clock is ahead.
    ahead_ms: Arc<AtomicI64>,
    pub(crate) window_ms: i64,
    running: Option<Running>,
    /// The end of a process that was told to stop.
    stopping: Option<JoinHandle<()>>,
    /// What the last process had in memory when it ended, and when that was.
    last: Option<(Ms, BTreeMap<Key, Value>)>,
}

/// A process of a node.
struct Running {
    process: Process,
    meta: Arc<Meta>,
    /// The ingester, once it serves.
    ingester: Arc<Mutex<Option<Arc<Ingester>>>>,
    stop: watch::Sender<bool>,
    /// Why it does not start.
    failure: Arc<Mutex<Option<String>>>,
    task: JoinHandle<()>,
}

impl Node {
    pub(crate) fn new(name: String, window_ms: i64) -> Self {
        let (disk, ahead_ms) = (Disk::default(), Arc::default());
        Node { name, disk, ahead_ms, window_ms, running: None, stopping: None, last: None }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The ingester, once it serves.
    pub(crate) fn ingester(&self) -> Option<Arc<Ingester>> {
        self.running.as_ref()?.ingester.lock().clone()
    }

    /// What is in memory, or was when the last process ended; none if it did not serve.
    pub(crate) fn held(&self) -> Option<BTreeMap<Key, Value>> {
        match &self.running {
            Some(_) => self.ingester().map(|ingester| Memory::of(&self.name, ingester).samples),
            None => self.last.clone().map(|(_, samples)| samples),
        }
    }

    /// When the last process ended.
    pub(crate) fn ended(&self) -> Option<Ms> {
        self.last.as_ref().map(|(ended, _)| *ended)
    }

    /// Ends the process for those that look at the node from outside.
    fn take_running(&mut self, around: &Surroundings) -> Option<Running> {
        self.last = self.held().map(|samples| (around.env.now(), samples));
        self.running.take()
    }

    /// Why the running process cannot open its log.
    pub(crate) fn failure(&self) -> Option<String> {
        self.running.as_ref()?.failure.lock().clone()
    }

    /// Moves its wall clock.
    pub(crate) fn set_ahead(&self, ms: i64) {
        self.ahead_ms.store(ms, Ordering::Relaxed);
    }

    /// Starts a process, with what the disk holds.
    pub(crate) fn start(&mut self, around: &Surroundings) {
        let process = Process::new(&self.name);
        let clock = NodeClock::new(self.ahead_ms.clone());
        let addresses = ADDRESSES.iter().map(ToString::to_string).collect();
        let link = around.network.link(&process);
        let meta = Arc::new(Meta::connect(&self.name, addresses, link, clock.clone()));
        let (stop, stopped) = watch::channel(false);
        let boot = Boot {
            around: around.clone(),
            process: process.clone(),
            meta: meta.clone(),
            clock,
            disk: self.disk.clone(),
            window_ms: self.window_ms,
            ingester: Arc::default(),
            failure: Arc::default(),
        };
        let (ingester, failure) = (boot.ingester.clone(), boot.failure.clone());
        let task = tokio::spawn(boot.run(stopped));
        self.running = Some(Running { process, meta, ingester, stop, failure, task });
    }

    /// Ends the process at once, as SIGKILL does, or as a power failure, which also loses what was not fsynced.
    pub(crate) fn crash(&mut self, around: &Surroundings, is_power_failure: bool) {
        let Some(running) = self.take_running(around) else { return };
        running.process.end();
        match is_power_failure {
            true => self.disk.crash(&mut around.env.fork()),
            false => self.disk.unmount(),
        }
        running.task.abort();
        running.stop.send_replace(true);
        let meta = running.meta;
        // The tasks that are left reach nobody and end by themselves.
        tokio::spawn(async move { meta.shutdown().await });
    }

    /// Whether a process can be started.
    pub(crate) fn can_start(&self) -> bool {
        self.running.is_none() && self.stopping.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Stops the process in order, which takes a while.
    pub(crate) fn stop(&mut self, around: &Surroundings) {
        let Some(running) = self.take_running(around) else { return };
        let disk = self.disk.clone();
        self.stopping = Some(tokio::spawn(async move {
            // The process is killed when it takes too long.
            let leaving = running.meta.leave(&running.process.name);
            let _late = tokio::time::timeout(Duration::from_secs(5), leaving).await;
            running.stop.send_replace(true);
            let mut task = running.task;
            if tokio::time::timeout(Duration::from_secs(10), &mut task).await.is_err() {
                task.abort();
            }
            running.process.end();
            running.meta.shutdown().await;
            disk.unmount();
        }));
    }
}

/// The start of a process.
struct Boot {
    around: Surroundings,
    process: Process,
    meta: Arc<Meta>,
    clock: Arc<NodeClock>,
    disk: Disk,
    window_ms: i64,
    ingester: Arc<Mutex<Option<Arc<Ingester>>>>,
    failure: Arc<Mutex<Option<String>>>,
}

impl Boot {
    async fn run(self, stopped: watch::Receiver<bool>) {
        let mut stop = stopped.clone();
        let starting = async {
            loop {
                match self.start(&stopped).await {
                    Ok(ingester) => return ingester,
                    Err(error) => {
                        self.around.env.note(format!("{} does not start: {error}", self.process.name));
                        *self.failure.lock() = Some(error);
                        // Whatever supervises the process starts it again.
                        tokio::time::sleep(Duration::from_secs(2)).await;
                    }
                }
            }
        };
        let ingester = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            ingester = starting => ingester,
        };
        self.around.env.note(format!("{} serves", self.process.name));
        ingester.run(stopped).await;
    }

    /// As `pharos/src/server/roles.rs` does.
    async fn start(&self, stopped: &watch::Receiver<bool>) -> Result<Arc<Ingester>, String> {
        self.meta.ready().await;
        let registry = prometheus::Registry::new();
        let head = self.open_head(&registry).await?;
        let member = self.member();
        let joining = Member { state: MemberState::Joining, ..member.clone() };
        let join = Command::Join { member: joining, at_ms: self.clock.now_ms() };
        self.meta.propose(join).await.map_err(|e| e.to_string())?;
        let config = IngesterConfig {
            shards_total: SHARDS,
            grace: GRACE,
            forget_after: FORGET_AFTER,
            ..IngesterConfig::new(&self.process.name, self.window_ms)
        };
        let (objects, connect) = (self.around.bucket.of(&self.process), self.around.network.link(&self.process));
        let (meta, clock) = (self.meta.clone(), self.clock.clone());
        let ingester =
            Ingester::create(config, head, meta, objects, clock, connect, &registry).map_err(|e| e.to_string())?;
        ingester.report_lost_shards().await;
        let mut routes = Routes::builder();
        ingester.add_services(&mut routes, stopped.clone());
        self.around.network.serve(&self.process, routes.routes());
        *self.ingester.lock() = Some(ingester.clone());
        *self.failure.lock() = None;
        // A node that does not reach meta waits.
        while let Err(error) = self.meta.join(member.clone()).await {
            self.around.env.note(format!("{} waits for meta: {error}", self.process.name));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(ingester)
    }

    async fn open_head(&self, registry: &prometheus::Registry) -> Result<Arc<Head>, String> {
        let config = HeadConfig {
            window_ms: self.window_ms,
            shards: SHARDS,
            out_of_order_window_ms: OUT_OF_ORDER_MS,
            segment_bytes: 4096,
            replay_threads: 1,
            has_replicas: self.around.has_replicas,
            ..HeadConfig::new(PathBuf::from("/wal"))
        };
        let (fs, clock, registry) =
            (Arc::new(DiskFs(self.disk.mount(self.around.bug))), self.clock.clone(), registry.clone());
        let opening = move || Head::open(config, clock, fs, &registry, &mut |_| {});
        let opened = tokio::task::spawn_blocking(opening).await.map_err(|e| e.to_string())?;
        opened.map(Arc::new).map_err(|e| format!("log: {e}"))
    }

    fn member(&self) -> Member {
        Member {
            id: self.process.name.clone(),
            address: self.process.name.clone(),
            roles: BTreeSet::from([Role::Ingester]),
            weight: DEFAULT_WEIGHT,
            state: MemberState::Active,
            ..Member::default()
        }
    }
}
