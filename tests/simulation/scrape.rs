//! Which agent scrapes which target at which moment: as `pharos_scrape::ownership` and its target loops do it, over the real assignments of
//! meta's state. The moments of a target are the same for all agents; an agent makes sure that its view is new enough before it
//! decides about one, and goes on with the one that it has when it hears of no newer one.

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

/// What an agent decided about a moment of a target.
#[derive(Clone, Copy, Debug)]
pub struct Decision {
    /// Of which target.
    pub target: usize,
    /// About which moment, virtual time.
    pub moment: Ms,
    /// Whether it scrapes.
    pub scrapes: bool,
    /// Whether its view was new enough.
    pub is_sure: bool,
}

/// What an agent keeps.
#[derive(Default)]
pub struct Scraping {
    /// When it last sent a sign of life after which its view lacks nothing.
    contact: Option<Ms>,
    /// Answers to signs of life, whose versions the view has not reached yet.
    reaching: Vec<(Ms, u64)>,
    detached: bool,
    /// Targets that wait for a newer view, until when at most.
    held: BTreeMap<usize, Ms>,
    /// The last moment of each target that was decided about.
    decided: BTreeMap<usize, Ms>,
    /// The assignments of the view, and what was made of them.
    timeline: Option<(Arc<Vec<Assignment>>, Timeline)>,
}

fn hash(target: usize) -> u64 {
    (target as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The first moment of a target at or after a time.
fn next_moment(target: usize, from: Ms) -> Ms {
    let offset = hash(target) % INTERVAL_MS;
    (from + INTERVAL_MS - 1 - offset) / INTERVAL_MS * INTERVAL_MS + offset
}

/// An agent begins to scrape.
pub fn begin(me: Node, env: &mut Env) {
    (0..TARGETS).for_each(|target| wake_for(me, env, target));
}

fn wake_for(me: Node, env: &mut Env, target: usize) {
    let after = next_moment(target, env.now + 1) - env.now;
    env.wake(me, after, Timer::Scrape(target));
}

impl Scraping {
    /// A sign of life that was sent at a time was answered: meta had this version then.
    pub fn answered(&mut self, me: Node, env: &mut Env, view: &View, sent: Ms, version: u64) {
        self.reaching.push((sent, version));
        self.view_changed(me, env, view);
    }

    /// The view is another one.
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

    /// A moment of a target has come, or a decision has waited for long enough.
    pub fn due(&mut self, me: Node, env: &mut Env, view: &View, target: usize) {
        match self.held.get(&target) {
            Some(until) if env.now >= *until => {
                self.held.remove(&target);
                self.detached = true;
                return self.decide(me, env, view, target);
            }
            // A moment of before still waits: it goes with this one.
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
        let moment = next_moment(target, env.now + 1) - INTERVAL_MS;
        if self.decided.insert(target, moment) == Some(moment) {
            return;
        }
        let owner = self.timeline(view).owner_at(hash(target), BASE_MS + moment as i64).map(str::to_string);
        let scrapes = owner == Some(me.identity());
        let decision = Decision { target, moment, scrapes, is_sure: !self.detached };
        env.note(&[160, agent as u64, moment, scrapes.into()], || format!("agent {agent}: {decision:?} by {owner:?}"));
        env.decisions.push(decision);
    }
}
