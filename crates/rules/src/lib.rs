//! Rules: what a rule file says ([`mod@file`]), how its groups are evaluated ([`group`], [`alerting`], [`recording`]) and how
//! labels and annotations of alerts are expanded ([`template`]).
//!
//! Nothing here does I/O or looks at a clock: whoever runs rules hands in text, times and a [`RuleStore`], which answers
//! queries and takes samples. The states of alerts are values of [`AlertingRule`].

pub mod alerting;
pub mod file;
pub mod group;
pub mod recording;
pub mod template;

pub use alerting::{Alert, AlertState, AlertingRule};
pub use file::{RuleFileError, RuleGroup, RuleGroups};
pub use group::{Group, GroupOptions, Rule, RuleError, RuleStore};
pub use recording::RecordingRule;
