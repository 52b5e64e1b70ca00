//! Which agent scrapes a target in which scrape slot: as `pharos_scrape::ownership` and its target loops decide, by the real
//! assignments of the cluster state.
//!
//! The slots of a target are the same for all agents. An agent waits for a view that is new enough before it decides about a
//! slot, and continues with the view that it has when no newer one arrives.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_cluster::placement::Timeline;
use pharos_cluster::{Assignment, View};

use super::env::{Env, Ms, Node};
use super::messages::Timer;
use super::{BASE_MS, TARGETS};

/// Between two scrapes of a target.
pub const INTERVAL_MS: Ms = 1000;
/// How old the view may be for a decision.
const MAX_AGE_MS: Ms = pharos_cluster::HANDOFF_MS as Ms - 200;
/// How long a decision waits for a newer view.
const HOLD_MS: Ms = 500;

/// What an agent decided about a scrape slot of a target.
#[derive(Clone, Copy, Debug)]
pub struct Decision {
    /// The target.
    pub target: usize,
    /// The scrape slot, in virtual time.
    pub slot: Ms,
    /// Whether the agent scrapes.
    pub scrapes: bool,
    /// Whether its view was new enough.
    pub is_sure: bool,
}

/// The state of an agent.
#[derive(Default)]
pub struct Scraping {
    /// When it sent the last heartbeat whose version its view has reached.
    contact: Option<Ms>,
    /// Answers to heartbeats whose versions the view has not reached yet.
    reaching: Vec<(Ms, u64)>,
    detached: bool,
    /// Targets that wait for a newer view, and until when.
    held: BTreeMap<usize, Ms>,
    /// The last slot of each target that was decided.
    decided: BTreeMap<usize, Ms>,
    /// The assignments of the view, and their timeline.
    timeline: Option<(Arc<Vec<Assignment>>, Timeline)>,
}

fn hash(target: usize) -> u64 {
    (target as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The first scrape slot of a target at or after a time.
fn next_slot(target: usize, from: Ms) -> Ms {
    let offset = hash(target) % INTERVAL_MS;
    (from + INTERVAL_MS - 1 - offset) / INTERVAL_MS * INTERVAL_MS + offset
}

/// An agent begins to scrape.
pub fn begin(me: Node, env: &mut Env) {
    (0..TARGETS).for_each(|target| wake_for(me, env, target));
}

fn wake_for(me: Node, env: &mut Env, target: usize) {
    let after = next_slot(target, env.now + 1) - env.now;
    env.wake(me, after, Timer::Scrape(target));
}

impl Scraping {
    /// A heartbeat that was sent at that time was answered: meta had this version.
    pub fn answered(&mut self, me: Node, env: &mut Env, view: &View, sent: Ms, version: u64) {
        self.reaching.push((sent, version));
        self.view_changed(me, env, view);
    }

    /// The view has changed.
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

    /// A slot has come, or a decision has waited long enough.
    pub fn due(&mut self, me: Node, env: &mut Env, view: &View, target: usize) {
        match self.held.get(&target) {
            Some(until) if env.now >= *until => {
                self.held.remove(&target);
                self.detached = true;
                return self.decide(me, env, view, target);
            }
            // A slot of before still waits: it goes with this one.
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
        // Moments that passed by are skipped; this is the last one.
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
