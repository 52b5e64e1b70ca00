//! **A target has one owner per scrape slot**: among the agents in contact with meta, at most one scrapes a target in a
//! slot. If all agents are in contact and have decided about a slot, exactly one scrapes. An agent without contact
//! continues with its own targets.

use std::collections::BTreeMap;

use crate::env::Ms;
use crate::scrape::Decision;
use crate::world::World;

/// Virtual time for which decisions are kept.
const REMEMBERED_MS: Ms = 5000;

/// Recent decisions, by slot and target.
#[derive(Default)]
pub struct Decisions(BTreeMap<(Ms, usize), Vec<Decision>>);

/// Checks the decisions that agents made in this step, together with earlier ones about the same slots.
pub fn decided(world: &mut World) {
    for decision in std::mem::take(&mut world.env.decisions) {
        let known = world.decisions.0.entry((decision.slot, decision.target)).or_default();
        known.push(decision);
        let sure = known.iter().all(|decision| decision.is_sure);
        let scrape = known.iter().filter(|decision| decision.scrapes && decision.is_sure).count();
        let all = known.len() == world.agents.len();
        let seen = known.clone();
        if scrape > 1 {
            world.env.violated("ownership", || format!("a target is scraped twice: {seen:?}"));
        } else if all && sure && scrape == 0 {
            world.env.violated("ownership", || format!("a target is scraped by nobody: {seen:?}"));
        }
    }
    let long_ago = world.env.now.saturating_sub(REMEMBERED_MS);
    world.decisions.0 = world.decisions.0.split_off(&(long_ago, 0));
}
