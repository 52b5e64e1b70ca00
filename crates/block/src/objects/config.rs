//! The settings of an object store, and how the store is built from them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use serde::{Deserialize, Serialize};

use super::counting::{Counting, StoreMetrics};
use super::retry::{RetryPolicy, Retrying};

/// Where blocks are stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum ObjectStoreConfig {
    /// A folder of this machine or of a network file system.
    Filesystem(FilesystemConfig),
    /// Amazon S3, or a service with the same API.
    S3(S3Config),
}

/// The settings of a folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesystemConfig {
    /// The folder. It is created if it does not exist.
    pub directory: PathBuf,
}

/// The settings of S3.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// The bucket. It must exist.
    pub bucket: String,
    /// The URL of the service, for example `http://minio:9000`. Default: Amazon's endpoint of the region.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The region. Default: `us-east-1`.
    #[serde(default = "default_region")]
    pub region: String,
    /// The access key. Default: the environment (`AWS_ACCESS_KEY_ID`) or the role of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "hidden")]
    pub access_key: Option<String>,
    /// The secret key. Default: the environment (`AWS_SECRET_ACCESS_KEY`) or the role of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "hidden")]
    pub secret_key: Option<String>,
    /// Whether the bucket is part of the path rather than of the host name. Default: true.
    #[serde(default = "yes")]
    pub path_style: bool,
    /// Whether unencrypted HTTP is allowed. Default: only if the endpoint begins with `http://`.
    #[serde(default)]
    pub allow_http: Option<bool>,
    /// A prefix of all keys, without leading and trailing slashes. Default: none.
    #[serde(default)]
    pub prefix: String,
    /// Maximum number of retries of a request, at growing intervals. Default: 8.
    #[serde(default = "default_retries")]
    pub max_retries: usize,
    /// Timeout of a request, in seconds. Default: 60.
    #[serde(default = "default_timeout")]
    pub timeout_seconds: u64,
}

/// Prints `<secret>` in place of a key.
fn hidden<S: serde::Serializer>(_: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str("<secret>")
}

fn default_region() -> String {
    "us-east-1".into()
}

fn default_retries() -> usize {
    8
}

fn default_timeout() -> u64 {
    60
}

fn yes() -> bool {
    true
}

/// Omits the keys.
impl std::fmt::Debug for S3Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Config")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// Why a store cannot be built from its settings.
#[derive(Debug, thiserror::Error)]
pub enum ObjectStoreConfigError {
    /// The folder cannot be created.
    #[error("object store folder {directory:?}: {source}")]
    Directory {
        /// The folder.
        directory: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The client rejects the settings.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
}

impl ObjectStoreConfig {
    /// The settings of a store in a folder.
    pub fn filesystem(directory: impl Into<PathBuf>) -> Self {
        ObjectStoreConfig::Filesystem(FilesystemConfig { directory: directory.into() })
    }

    /// Builds the store and counts its requests in `metrics`. A folder is wrapped in [`Retrying`]; the S3 client has retries and
    /// timeouts of its own, so that nothing is retried twice.
    pub fn build(&self, metrics: StoreMetrics) -> Result<Arc<dyn ObjectStore>, ObjectStoreConfigError> {
        match self {
            ObjectStoreConfig::Filesystem(config) => {
                let directory = &config.directory;
                std::fs::create_dir_all(directory)
                    .map_err(|source| ObjectStoreConfigError::Directory { directory: directory.clone(), source })?;
                let local = LocalFileSystem::new_with_prefix(directory)?.with_fsync(true);
                Ok(Arc::new(Counting::new(Retrying::new(local, RetryPolicy::default()), metrics)))
            }
            ObjectStoreConfig::S3(config) => {
                let s3 = config.builder().build()?;
                match config.prefix.trim_matches('/') {
                    "" => Ok(Arc::new(Counting::new(s3, metrics))),
                    prefix => Ok(Arc::new(Counting::new(PrefixStore::new(s3, prefix), metrics))),
                }
            }
        }
    }
}

impl S3Config {
    fn builder(&self) -> AmazonS3Builder {
        // The TLS library has no default provider. Installing it fails if another part of the program did so before.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let timeout = Duration::from_secs(self.timeout_seconds.max(1));
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(10),
                base: 2.0,
            },
            max_retries: self.max_retries,
            retry_timeout: timeout.saturating_mul(3).min(Duration::from_secs(240)),
        };
        let plain = self.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let client = ClientOptions::new().with_timeout(timeout).with_connect_timeout(Duration::from_secs(5));
        let mut builder = AmazonS3Builder::from_env()
            .with_client_options(client)
            .with_bucket_name(&self.bucket)
            .with_region(&self.region)
            .with_virtual_hosted_style_request(!self.path_style)
            .with_allow_http(self.allow_http.unwrap_or(plain))
            .with_retry(retry);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some(key) = &self.access_key {
            builder = builder.with_access_key_id(key);
        }
        if let Some(secret) = &self.secret_key {
            builder = builder.with_secret_access_key(secret);
        }
        builder
    }
}

#[cfg(test)]
mod tests;
