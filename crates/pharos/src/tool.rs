//! `pharos tool`: tools that write to the given stream and return whether they found no problem.

mod check_alertmanager_config;
mod check_config;
mod check_rules;
mod docs;
mod promqltest;
mod repair_wal;
mod replay_rules;
mod test_rules;

pub use check_alertmanager_config::check_alertmanager_config;
pub use check_config::check_config;
pub use check_rules::{CheckOutcome, CheckRulesOptions, check_rules};
pub use docs::docs;
pub use promqltest::promqltest;
pub use repair_wal::repair_wal;
pub use replay_rules::{ReplayOptions, replay_rules};
pub use test_rules::{TestRulesOptions, test_rules};
