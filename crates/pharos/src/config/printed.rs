//! The configuration as shown by `/api/v1/status/config`.

use super::Config;

/// All sections with their defaults. Secret types serialize as `<secret>`.
pub(super) fn to_yaml(config: &Config) -> String {
    match serde_saphyr::to_string(config) {
        Ok(text) => text,
        Err(error) => format!("# cannot print the configuration: {error}\n"),
    }
}
