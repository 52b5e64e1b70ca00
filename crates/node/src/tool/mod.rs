//! `pharos tool`: each tool writes to the stream that it is given and says whether all is well.

mod check_config;
mod repair_wal;

pub use check_config::check_config;
pub use repair_wal::repair_wal;
