//! The Alertmanager: takes alerts, groups them, decides who is told about them and when, and remembers what was told.
//!
//! - What an alert goes through: [`api`] or [`Engine::put`] → [`alerts`] (merged reports) → [`routing`] → [`groups`] (when to
//!   flush) → [`delivery`] (who is muted by [`inhibition`], [`interval`]s and [`silences`]; what is new by the
//!   [`notification_log`]; attempts) → `pharos-notify`.
//! - [`engine`] holds all of this behind one lock. Its parts are state machines that get the time and do no I/O.
//! - [`journal`] makes silences and the notification log durable, and [`replicas`] shares them with other processes, before a
//!   change is answered or a notification counts as sent.

#![forbid(unsafe_code)]

pub mod alerts;
pub mod api;
mod busy;
pub mod config;
pub mod delivery;
pub mod engine;
pub mod groups;
pub mod inhibition;
pub mod interval;
pub mod journal;
pub mod matcher;
pub mod metrics;
pub mod notification_log;
pub mod records;
pub mod replicas;
pub mod routing;
pub mod run;
pub mod silences;

pub use config::{Config, ConfigError};
pub use engine::{Engine, Settings};
pub use matcher::Syntax;
