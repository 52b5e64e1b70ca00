//! The ruler: evaluates the groups of rule files on time, writes what they produce and passes their alerts on.
//!
//! [`Ruler`] keeps one loop a group in step with the configuration. A loop waits for the group's next slot, asks its queries
//! through [`RuleEngine`], writes the samples as any other producer does, and hands alerts to an [`AlertSink`], such as the
//! [`Notifier`], which sends them to Alertmanagers. The rules themselves, and what they remember, are the engine
//! `pharos_rules`.
//!
//! In a cluster every ruler knows all groups, and [`Ownership`] says which slots of a group are its own.
//!
//! Groups come from files, or from the bucket, where the rule API keeps them ([`StoredRules`]).
//!
//! An evaluation that fails changes nothing and resolves no alert. A write that fails is repeated until the group's next
//! slot.

#![forbid(unsafe_code)]

mod components;
mod evaluation;
mod group;
mod metrics;
mod notifier;
mod ownership;
mod ruler;
mod schedule;
mod service;
mod stored;
mod summary;
mod view;
mod write;

pub use components::{AlertSink, OutgoingAlert, RuleEngine, RuleWork, RulerComponents, RulerConfig};
pub use notifier::{
    KnownAlertmanagers, MemberAlertmanagers, Notifier, NotifierConfig, NotifierRules, OwnAlertmanagers,
    PreparedNotifier,
};
pub use ownership::Ownership;
pub use ruler::{RuleFile, RuleSet, Ruler};
pub use service::RemoteRulers;
pub use stored::{MAX_GROUP_BYTES, StoredRules, StoredRulesError, follow};
