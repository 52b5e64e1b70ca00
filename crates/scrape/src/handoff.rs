//! Targets whose series this agent knows but does not scrape: those that are gone, and those that move between agents.
//!
//! Stale markers are written a little more than two intervals after the last scrape, as Prometheus does, with the
//! timestamp of the first slot that was not scraped. A target with the same labels that appears before then takes over the
//! pending state, so that no marker falls among its samples. The owner of the target's next slot writes the markers: state
//! that belongs to another agent is sent there and stays here only while that agent is unreachable.

mod pending;
pub(crate) mod record;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use futures::future::join_all;
use parking_lot::Mutex;
use pharos_model::Labels;
use pharos_model::clock::sleep_until_ms;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) use self::pending::Pending;
use self::record::HandoffRecord;
use crate::loop_state::EndedLoop;
use crate::ownership::{Owner, Plan};
use crate::shared::{InFlight, Shared};
use crate::targets::Target;

/// The limit on records that other agents sent and no loop has taken yet, bytes.
const MAX_RECEIVED_BYTES: usize = 256 << 20;

/// All pending state of an agent, by the labels of the targets.
pub(crate) struct Handoffs {
    shared: Arc<Shared>,
    pending: Mutex<HashMap<Labels, Vec<(u64, Pending)>>>,
    /// The number of pending states, so that a loop that finds none does not wait for the lock.
    count: AtomicUsize,
    received_bytes: AtomicUsize,
    next_id: AtomicU64,
}

/// The result of sending pending state to the agent that owns the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandoffOutcome {
    /// Another agent has it, or a loop of this one took it meanwhile.
    Transferred,
    /// This agent owns the target, or nobody does.
    Owned,
    /// The owner is unreachable, or knows a newer assignment than this agent does.
    Unreachable,
}

/// A pending state that its task watches over.
struct Watched {
    labels: Labels,
    id: u64,
    /// The first slot that was not scraped, milliseconds.
    next_ms: i64,
    interval_ms: i64,
}

/// Room for a record of which parts have arrived. It is given back when this is dropped.
pub(crate) struct Room {
    handoffs: Arc<Handoffs>,
    bytes: usize,
}

impl Room {
    /// Reserves room for more bytes of the record.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), String> {
        let waiting = self.handoffs.received_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        match waiting + bytes > MAX_RECEIVED_BYTES {
            true => Err(format!("{waiting} bytes of handoff records are waiting, the limit is {MAX_RECEIVED_BYTES}")),
            false => Ok(()),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.handoffs.received_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Handoffs {
    pub(crate) fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Handoffs {
            shared,
            pending: Mutex::default(),
            count: 0.into(),
            received_bytes: 0.into(),
            next_id: 0.into(),
        })
    }

    /// Waits for the end of a loop that has no successor here and takes its state.
    pub(crate) fn adopt(self: &Arc<Self>, ending: JoinHandle<EndedLoop>) -> JoinHandle<()> {
        let this = self.clone();
        let in_flight = this.shared.begin();
        tokio::spawn(async move {
            match ending.await {
                Ok(ended) => this.add(ended),
                Err(error) => tracing::error!(%error, "scrape loop panicked"),
            }
            drop(in_flight);
        })
    }

    /// Takes the state of an ended loop and sees to its stale markers. A loop that never scraped leaves nothing.
    pub(crate) fn add(self: &Arc<Self>, ended: EndedLoop) {
        let Some(next_ms) = ended.state.next_ms else { return };
        let labels = ended.target.labels.clone();
        let interval_ms = ended.target.interval_ms();
        self.insert(labels, Pending::Local(Box::new(ended)), next_ms, interval_ms);
    }

    /// Reserves room for a record that another agent is sending.
    pub(crate) fn room(self: &Arc<Self>, bytes: usize) -> Result<Room, String> {
        let mut room = Room { handoffs: self.clone(), bytes: 0 };
        room.grow(bytes)?;
        Ok(room)
    }

    /// Takes a record from another agent. It is refused when too many records are waiting.
    pub(crate) fn receive(self: &Arc<Self>, record: HandoffRecord) -> Result<(), String> {
        // Given back here, and taken again by the record that is waiting then.
        drop(self.room(record.bytes())?);
        let labels = record.labels.clone();
        let next_ms = record.next_ms;
        let interval_ms = record.interval_ms;
        self.insert(labels, Pending::Received(record), next_ms, interval_ms);
        Ok(())
    }

    fn insert(self: &Arc<Self>, labels: Labels, pending: Pending, next_ms: i64, interval_ms: i64) {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut plans = self.shared.ownership.watch();
        plans.mark_unchanged();
        self.received_bytes.fetch_add(pending.received_bytes(), Ordering::Relaxed);
        {
            let mut all = self.pending.lock();
            all.entry(labels.clone()).or_default().push((id, pending));
            self.count.fetch_add(1, Ordering::Release);
        }
        let watched = Watched { labels, id, next_ms, interval_ms };
        let in_flight = self.shared.begin();
        tokio::spawn(self.clone().watch_over(watched, plans, in_flight));
    }

    /// Offers a pending state to its owners until it is settled, then transfers it or writes its stale markers.
    async fn watch_over(self: Arc<Self>, watched: Watched, plans: watch::Receiver<Arc<Plan>>, in_flight: InFlight) {
        let settle = async {
            if !self.offer(&watched, plans, in_flight).await {
                return;
            }
            match self.transfer_to_owner(&watched).await {
                HandoffOutcome::Transferred => {}
                HandoffOutcome::Owned => self.write_stale(&watched).await,
                HandoffOutcome::Unreachable => self.abandon(&watched).await,
            }
        };
        tokio::select! {
            () = self.shared.stopped() => {}
            () = settle => {}
        }
    }

    /// Offers the state to the target's owner, now and whenever the plan changes, until no scrape of the target can take
    /// it any more. Returns false once it was taken or transferred.
    async fn offer(&self, watched: &Watched, mut plans: watch::Receiver<Arc<Plan>>, in_flight: InFlight) -> bool {
        let clock = &*self.shared.clock;
        let began = clock.monotonic();
        let mut in_flight = Some(in_flight);
        loop {
            if let Some(_until_offered) = in_flight.take()
                && self.transfer_to_owner(watched).await == HandoffOutcome::Transferred
            {
                return false;
            }
            // Whoever may still appear scrapes within an interval from the beginning, which is another time after the clock has
            // stepped.
            let since_ms = clock.monotonic().saturating_sub(began).as_millis() as i64;
            let from = watched.next_ms.max(clock.now_ms().saturating_sub(since_ms));
            let settled = self.own_slot(watched, from) + watched.interval_ms + watched.interval_ms / 10;
            tokio::select! {
                () = sleep_until_ms(clock, settled) => return true,
                Ok(()) = plans.changed() => in_flight = Some(self.shared.begin()),
            }
        }
    }

    /// The first slot in which a loop of this agent would take the state. It may be far away for a received record, when
    /// this agent owns the target only from a later epoch on.
    fn own_slot(&self, watched: &Watched, from: i64) -> i64 {
        let all = self.pending.lock();
        let received = match find(&all, watched) {
            Some(Pending::Received(record)) => Some(record.placement),
            Some(Pending::Local(_)) | None => None,
        };
        let plan = self.shared.ownership.plan();
        received.and_then(|placement| plan.next_owned_slot(placement, watched.interval_ms, from)).unwrap_or(from)
    }

    /// Sends the state to the agent that owns the target from now on, if that is another one.
    async fn transfer_to_owner(&self, watched: &Watched) -> HandoffOutcome {
        let (to, record) = {
            let all = self.pending.lock();
            let Some(pending) = find(&all, watched) else {
                return HandoffOutcome::Transferred; // A loop took it.
            };
            let plan = self.shared.ownership.plan();
            // A sender with a newer epoch knows the owner better than this agent's plan.
            if matches!(pending, Pending::Received(record) if record.epoch > plan.epoch) {
                return HandoffOutcome::Unreachable;
            }
            let placement = pending.placement();
            let from = watched.next_ms.max(self.shared.clock.now_ms());
            let next = plan.next_slot(placement, pending.interval_ms(), from);
            let Owner::Other(to) = plan.owner_at(placement, next) else { return HandoffOutcome::Owned };
            (to, pending.to_record(plan.epoch))
        };
        match self.shared.ownership.hand_off(&to, &record).await {
            Ok(()) => {
                self.remove(&watched.labels, |id| id == watched.id);
                HandoffOutcome::Transferred
            }
            Err(error) => {
                tracing::debug!(target_url = record.url, to, error, "handoff failed; keeping the target's state");
                HandoffOutcome::Unreachable
            }
        }
    }

    /// The owner stayed unreachable. A target that this agent scraped is gone and gets its markers from here; of a target
    /// that another agent scraped this one cannot tell, so its record is dropped.
    async fn abandon(&self, watched: &Watched) {
        let is_local = matches!(find(&self.pending.lock(), watched), Some(Pending::Local(_)));
        if is_local {
            self.write_stale(watched).await;
        } else {
            self.remove(&watched.labels, |id| id == watched.id);
        }
    }

    /// Sends the state of a released target to the owner of its next slot; keeps it as received if that fails.
    pub(crate) fn transfer(self: &Arc<Self>, to: String, record: HandoffRecord) {
        let this = self.clone();
        let in_flight = this.shared.begin();
        tokio::spawn(async move {
            if let Err(error) = this.shared.ownership.hand_off(&to, &record).await {
                tracing::debug!(target_url = record.url, to, error, "handoff failed; will retry when owners change");
                if let Err(error) = this.receive(record) {
                    tracing::warn!(error, "dropping the state of a target; its vanished series get no stale markers");
                }
            }
            drop(in_flight);
        });
    }

    /// Sends everything to its owners, as far as they are reachable: this agent is about to stop.
    pub(crate) async fn transfer_all(&self, from_ms: i64) {
        let plan = self.shared.ownership.plan();
        let records: Vec<(String, HandoffRecord)> = {
            let all = self.pending.lock();
            let addressed = all.values().flatten().filter_map(|(_, pending)| {
                let record = pending.to_record(plan.epoch);
                // Its markers belong to the first slot in which the next owner would have scraped it.
                let next_ms = plan.next_slot(record.placement, record.interval_ms, record.next_ms.max(from_ms));
                match plan.owner_at(record.placement, next_ms) {
                    Owner::Other(to) => Some((to, HandoffRecord { next_ms, ..record })),
                    Owner::Me | Owner::Nobody => None,
                }
            });
            addressed.collect()
        };
        let transfers = records.iter().map(|(to, record)| async move {
            if let Err(error) = self.shared.ownership.hand_off(to, record).await {
                tracing::debug!(target_url = record.url, to, error, "handoff failed; dropping the target's state");
            }
        });
        join_all(transfers).await;
    }

    async fn write_stale(&self, watched: &Watched) {
        let Some(pending) = self.remove(&watched.labels, |id| id == watched.id) else { return };
        let mut buffers = self.shared.take_buffers();
        let url = pending.write_stale(&self.shared.tenant, watched.next_ms, &mut buffers.batch);
        let _logged = self.shared.append(&url, &buffers.batch).await;
        self.shared.return_buffers(buffers);
    }

    fn remove(&self, labels: &Labels, is_wanted: impl Fn(u64) -> bool) -> Option<Pending> {
        let mut all = self.pending.lock();
        let list = all.get_mut(labels)?;
        let at = list.iter().position(|(id, _)| is_wanted(*id))?;
        let (_, pending) = list.swap_remove(at);
        if list.is_empty() {
            all.remove(labels);
        }
        self.forget(&pending);
        Some(pending)
    }

    /// Takes the state of a target that is about to be scraped: what loops of the same target left, and if it was not scraped
    /// here before, also what one of another target with the same labels left, whose series it continues.
    pub(crate) fn take(&self, target: &Target, is_first_scrape: bool) -> Vec<Pending> {
        if self.count.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let mut all = self.pending.lock();
        let Some(list) = all.get_mut(&target.labels) else { return Vec::new() };
        let is_same = |(_, pending): &mut (u64, Pending)| pending.placement() == target.placement();
        let mut taken: Vec<Pending> = list.extract_if(.., is_same).map(|(_, pending)| pending).collect();
        if taken.is_empty() && is_first_scrape && !list.is_empty() {
            taken.push(list.swap_remove(0).1);
        }
        if list.is_empty() {
            all.remove(&target.labels);
        }
        drop(all);
        taken.iter().for_each(|pending| self.forget(pending));
        taken
    }

    /// The records that other agents sent.
    #[cfg(test)]
    pub(crate) fn received(&self) -> Vec<HandoffRecord> {
        let all = self.pending.lock();
        let received = all.values().flatten().filter_map(|(_, pending)| match pending {
            Pending::Received(record) => Some(record.clone()),
            Pending::Local(_) => None,
        });
        received.collect()
    }

    /// Stops counting a state that was removed.
    fn forget(&self, pending: &Pending) {
        self.count.fetch_sub(1, Ordering::Release);
        self.received_bytes.fetch_sub(pending.received_bytes(), Ordering::Relaxed);
    }
}

fn find<'a>(all: &'a HashMap<Labels, Vec<(u64, Pending)>>, watched: &Watched) -> Option<&'a Pending> {
    let list = all.get(&watched.labels)?;
    list.iter().find(|(id, _)| *id == watched.id).map(|(_, pending)| pending)
}

#[cfg(test)]
mod tests;
