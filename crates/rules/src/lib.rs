//! The rules engine: rule files ([`mod@file`]), the evaluation of their groups ([`group`], [`rule`], [`recording`],
//! [`alerting`]), the states of alerts ([`alerts`]) the templates of labels and annotations ([`template`]), and
//! what is probably a mistake ([`lint`]).
//!
//! This is a library without a role. It does no I/O and has no clock: callers pass the text of files, the time of each
//! evaluation and [`RuleQueries`] that answer queries, and write what a [`GroupRule`] returns. A group holds the state of its
//! rules, which are alerts and the series that a rule wrote last; [`restore`] reads it back from those series.

#![forbid(unsafe_code)]

pub mod alerting;
pub mod alerts;
mod dependencies;
pub mod error;
pub mod file;
pub mod group;
pub mod lint;
pub mod recording;
pub mod restore;
pub mod rule;
pub mod store;
pub mod template;

pub use alerting::AlertingRule;
pub use alerts::{Alert, AlertState, Alerts};
pub use error::RuleError;
pub use file::{RuleFileError, RuleGroup, RuleGroups};
pub use group::{Group, GroupOptions};
pub use recording::RecordingRule;
pub use restore::RestorePolicy;
pub use rule::{Evaluation, GroupRule, Rule, RuleStatus, RuleWrite};
pub use store::{QueryFailure, RuleQueries, RuleStore};
