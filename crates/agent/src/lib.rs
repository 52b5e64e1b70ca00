//! Stateless intake: discovers and scrapes targets, receives remote write and OTLP, hands samples on.

mod agent;
pub mod config;
mod discovery;
pub mod distribute;
pub mod exposition;
mod http;
mod ownership;
pub mod receive;
pub mod relabel;
mod scrape;
mod targets;

pub use agent::{Agent, AgentConfig, AgentError};
pub use ownership::{Ownership, RemoteAgents};
pub use scrape::pool::PoolStatus;
pub use targets::{Health, Target, TargetStatus};
