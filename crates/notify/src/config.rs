//! The sections `global` and `receivers` of `alertmanager.yml`, with Alertmanager's names, defaults and checks.
//!
//! Deserialising rejects unknown fields and what is wrong with a section by itself, with its position in the file.
//! [`ReceiverConfig::resolve`] then fills in what the section inherits from `global`. Serialising prints `<secret>` in place of
//! secrets.

mod global;
pub(crate) mod inherit;
pub(crate) mod omit;
mod receiver;
pub(crate) mod section;
pub(crate) mod url;
mod values;

pub use global::GlobalConfig;
pub use receiver::ReceiverConfig;
pub(crate) use receiver::for_each_list;
pub use url::{ApiUrl, SecretTemplateUrl, SecretUrl};
pub(crate) use values::maybe_host_port;
pub use values::{GoDuration, HostPort};

pub use crate::receivers::*;
pub(crate) use section::{Section, section};

#[cfg(test)]
mod tests;
