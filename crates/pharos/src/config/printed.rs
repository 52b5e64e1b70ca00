//! The configuration as `/api/v1/status/config` shows it.

use super::Config;

/// All sections with their defaults. Secrets print themselves as `<secret>`.
pub(super) fn to_yaml(config: &Config) -> String {
    match serde_saphyr::to_string(config) {
        Ok(text) => text,
        Err(error) => format!("# the configuration cannot be printed: {error}\n"),
    }
}
