//! The ruler: evaluates the groups of rule files on time, writes what they produce and passes their alerts on.
//!
//! [`Ruler`] keeps one loop a group in step with the configuration. A loop waits for the group's next slot, asks its queries
//! through [`RuleEngine`], writes the samples as any other producer does, and hands alerts to an [`AlertSink`]. The rules
//! themselves, and what they remember, are the engine `pharos_rules`.
//!
//! An evaluation that fails changes nothing and resolves no alert. A write that fails is repeated until the group's next
//! slot.

mod components;
mod evaluation;
mod group;
mod metrics;
mod ruler;
mod schedule;
mod summary;
mod view;
mod write;

pub use components::{AlertSink, OutgoingAlert, RuleEngine, RuleWork, RulerComponents, RulerConfig};
pub use ruler::{RuleFile, RuleSet, Ruler};
pub use view::{AlertView, GroupView, RuleView};
