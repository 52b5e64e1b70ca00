//! `pharos tool`: each tool writes to the stream that it is given and says whether all is well.

mod check_config;
mod docs;
mod promqltest;
mod repair_wal;
mod test_rules;

pub use check_config::check_config;
pub use docs::docs;
pub use promqltest::promqltest;
pub use repair_wal::repair_wal;
pub use test_rules::{TestRulesOptions, test_rules};
