//! What sections of receivers inherit from `global`.

use std::path::Path;

use pharos_config::HttpConfig;

use super::GlobalConfig;

/// The section of an integration.
pub(crate) trait Inherit {
    /// Fills in what is set in `global` only.
    ///
    /// # Errors
    /// Something is set in neither place. The message is Alertmanager's.
    fn inherit(&mut self, global: &GlobalConfig) -> Result<(), String>;

    /// Resolves relative paths against the directory of the configuration file.
    fn set_directory(&mut self, directory: &Path);
}

/// Fills in the HTTP client, and checks it.
pub(crate) fn http_config(own: &mut Option<HttpConfig>, global: &GlobalConfig) -> Result<(), String> {
    let config = own.get_or_insert_with(|| global.http_config.clone());
    config.http_client().map(drop).map_err(|e| e.to_string())
}

/// Resolves relative paths of an HTTP client.
pub(crate) fn set_directory(config: &mut Option<HttpConfig>, directory: &Path) {
    if let Some(config) = config {
        config.set_directory(directory);
    }
}

/// Fills in a URL.
pub(crate) fn or_global<T: Clone>(own: &mut Option<T>, global: &Option<T>) {
    if own.is_none() {
        own.clone_from(global);
    }
}

/// Fills in a text.
pub(crate) fn text_or_global(own: &mut String, global: &str) {
    if own.is_empty() {
        own.push_str(global);
    }
}
