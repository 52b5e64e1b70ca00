//! Go's `strconv`: quoting, and numbers to and from text.

mod float;
mod parse;
mod quote;
mod unquote;

pub use float::{GoFloat, format_exponential, format_fixed, format_general, format_openmetrics};
pub use parse::{ParseFloatError, parse_float, parse_int};
pub use quote::{GoQuoted, go_char, quote_bytes, unicode_name};
pub use unquote::unquote;

#[cfg(test)]
mod tests;
