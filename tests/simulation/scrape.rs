//! The ownership of scrape slots: a model of `pharos_scrape::ownership` and its target loops, which uses the real
//! assignments of the cluster state.
//!
//! All agents compute the same slots for a target. An agent decides about a slot once its view is recent enough. If no
//! recent view arrives in time, it continues with the last one.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_cluster::placement::Timeline;
use pharos_cluster::{Assignment, View};

use super::env::{Env, Ms, Node};
use super::messages::Timer;
use super::{BASE_MS, TARGETS};

/// Time between two scrapes of a target.
pub const INTERVAL_MS: Ms = 1000;
/// Maximum age of a view that is recent enough for a decision.
const MAX_AGE_MS: Ms = pharos_cluster::HANDOFF_MS as Ms - 200;
/// Maximum time that a decision waits for a newer view.
const HOLD_MS: Ms = 500;

/// An agent's decision about a scrape slot of a target.
#[derive(Clone, Copy, Debug)]
pub struct Decision {
    /// The number of the target.
    pub target: usize,
    /// The virtual time of the scrape slot.
    pub slot: Ms,
    /// Whether the agent scrapes the target in this slot.
    pub scrapes: bool,
    /// Whether the agent was in contact with meta, so that its view was recent enough.
    pub is_sure: bool,
}

/// The scrape state of an agent.
#[derive(Default)]
pub struct Scraping {
    /// Time at which the agent sent the newest heartbeat whose version its view has reached.
    contact: Option<Ms>,
    /// Send times and versions of answered heartbeats whose versions the view has not reached yet.
    reaching: Vec<(Ms, u64)>,
    detached: bool,
    /// Targets whose decision waits for a newer view, with the deadline.
    held: BTreeMap<usize, Ms>,
    /// The last slot that was decided, by target.
    decided: BTreeMap<usize, Ms>,
    /// The timeline of the current assignments, cached with the assignments that it was built from.
    timeline: Option<(Arc<Vec<Assignment>>, Timeline)>,
}

fn hash(target: usize) -> u64 {
    (target as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Returns the first scrape slot of a target at or after `from`.
fn next_slot(target: usize, from: Ms) -> Ms {
    let offset = hash(target) % INTERVAL_MS;
    (from + INTERVAL_MS - 1 - offset) / INTERVAL_MS * INTERVAL_MS + offset
}

/// Starts the scrape timers of an agent.
pub fn begin(me: Node, env: &mut Env) {
    (0..TARGETS).for_each(|target| wake_for(me, env, target));
}

fn wake_for(me: Node, env: &mut Env, target: usize) {
    let after = next_slot(target, env.now + 1) - env.now;
    env.wake(me, after, Timer::Scrape(target));
}

impl Scraping {
    /// Handles the answer to a heartbeat that was sent at `sent`, when meta was at `version`.
    pub fn answered(&mut self, me: Node, env: &mut Env, view: &View, sent: Ms, version: u64) {
        self.reaching.push((sent, version));
        self.view_changed(me, env, view);
    }

    /// Decides the waiting slots if the view is recent enough now.
    pub fn view_changed(&mut self, me: Node, env: &mut Env, view: &View) {
        let (reached, reaching) = self.reaching.iter().partition(|(_, version)| *version <= view.version);
        self.reaching = reaching;
        let reached: Vec<(Ms, u64)> = reached;
        self.contact = reached.iter().map(|(sent, _)| *sent).max().max(self.contact);
        if self.is_new(env.now) {
            self.detached = false;
            let held = std::mem::take(&mut self.held);
            held.into_keys().for_each(|target| self.decide(me, env, view, target));
        }
    }

    fn is_new(&self, now: Ms) -> bool {
        self.contact.is_some_and(|contact| contact + MAX_AGE_MS >= now)
    }

    /// Handles the timer of a target: a slot is due, or a decision has waited long enough.
    pub fn due(&mut self, me: Node, env: &mut Env, view: &View, target: usize) {
        match self.held.get(&target) {
            Some(until) if env.now >= *until => {
                self.held.remove(&target);
                self.detached = true;
                return self.decide(me, env, view, target);
            }
            // The decision about an earlier slot is still waiting. It will cover this slot.
            Some(_) => {}
            None if self.is_new(env.now) => {
                self.detached = false;
                self.decide(me, env, view, target);
            }
            None if self.detached => self.decide(me, env, view, target),
            None => {
                self.held.insert(target, env.now + HOLD_MS);
                env.wake(me, HOLD_MS, Timer::Scrape(target));
                return;
            }
        }
        wake_for(me, env, target);
    }

    fn timeline(&mut self, view: &View) -> &Timeline {
        let known = self.timeline.take().filter(|(assignments, _)| Arc::ptr_eq(assignments, &view.assignments));
        let fresh = || (view.assignments.clone(), Timeline::new(view));
        &self.timeline.insert(known.unwrap_or_else(fresh)).1
    }

    fn decide(&mut self, me: Node, env: &mut Env, view: &View, target: usize) {
        let Node::Agent(agent) = me else { return };
        // Only the latest slot is decided. Missed slots are skipped.
        let slot = next_slot(target, env.now + 1) - INTERVAL_MS;
        if self.decided.insert(target, slot) == Some(slot) {
            return;
        }
        let owner = self.timeline(view).owner_at(hash(target), BASE_MS + slot as i64).map(str::to_string);
        let scrapes = owner == Some(me.identity());
        let decision = Decision { target, slot, scrapes, is_sure: !self.detached };
        env.note(&[160, agent as u64, slot, scrapes.into()], || format!("agent {agent}: {decision:?} by {owner:?}"));
        env.decisions.push(decision);
    }
}
