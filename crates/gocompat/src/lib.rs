//! What Go's standard library does to text, so that expressions, numbers and messages mean and read the same as in
//! Prometheus: regular expressions ([`regexp`]), quoting and numbers ([`strconv`]), durations ([`duration`]), times
//! ([`time`]) and templates ([`template`]).
//!
//! Pure functions without I/O, clock or globals. Each rule of Go stands here once; callers add no rules of their own.

#![forbid(unsafe_code)]

pub mod duration;
pub mod regexp;
pub mod strconv;
pub mod template;
pub mod time;

pub use duration::{format_duration, go_duration, parse_duration, parse_go_duration};
pub use regexp::{GoRegex, RegexError};
pub use strconv::{GoFloat, GoQuoted};
