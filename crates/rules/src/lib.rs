//! The rules engine: rule files ([`mod@file`]), the evaluation of their groups ([`group`], [`recording`], [`alerting`]) and
//! the templates of labels and annotations ([`template`]).
//!
//! This is a library without a role. It does no I/O and has no clock: callers pass the text of files, the time of each
//! evaluation and a [`RuleStore`] that answers queries and takes samples. A [`Group`] holds the state of its rules, which
//! are the alerts of an [`AlertingRule`] and the series that a rule wrote last.

pub mod alerting;
pub mod error;
pub mod file;
pub mod group;
pub mod recording;
pub mod template;

pub use alerting::{Alert, AlertState, AlertingRule};
pub use error::RuleError;
pub use file::{RuleFileError, RuleGroup, RuleGroups};
pub use group::{Group, GroupOptions, Rule, RuleStore};
pub use recording::RecordingRule;
