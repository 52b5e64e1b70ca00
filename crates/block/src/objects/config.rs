//! The settings of the object store, and the store that they describe.

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

/// Where blocks are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum ObjectStoreConfig {
    /// A folder of this machine or a network file system.
    Filesystem(FilesystemConfig),
    /// Amazon S3 or a service with its API.
    S3(S3Config),
}

/// Settings of a folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FilesystemConfig {
    /// The folder; it is created when it is missing.
    pub directory: PathBuf,
}

/// Settings of S3.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// The bucket; it must exist.
    pub bucket: String,
    /// The service's URL, for example `http://minio:9000`. Default: Amazon's for the region.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The region. Default: `us-east-1`.
    #[serde(default = "default_region")]
    pub region: String,
    /// Access key. Default: the environment (`AWS_ACCESS_KEY_ID`) or the machine's role.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "hidden")]
    pub access_key: Option<String>,
    /// Secret key. Default: the environment (`AWS_SECRET_ACCESS_KEY`) or the machine's role.
    #[serde(default, skip_serializing_if = "Option::is_none", serialize_with = "hidden")]
    pub secret_key: Option<String>,
    /// Whether the bucket is part of the path rather than of the host's name. Default: true.
    #[serde(default = "yes")]
    pub path_style: bool,
    /// Whether plain HTTP is allowed. Default: only when the endpoint begins with `http://`.
    #[serde(default)]
    pub allow_http: Option<bool>,
    /// A prefix of all keys, without slashes at its ends. Default: none.
    #[serde(default)]
    pub prefix: String,
    /// Most retries of a request, with growing pauses. Default: 8.
    #[serde(default = "default_retries")]
    pub max_retries: usize,
    /// Most seconds that one request may take. Default: 60.
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

/// Hides the secret.
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

/// Settings from which no store can be made.
#[derive(Debug, thiserror::Error)]
pub enum ObjectStoreConfigError {
    /// The folder cannot be created or used.
    #[error("object store folder {directory:?}: {source}")]
    Directory {
        /// The folder.
        directory: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The store refuses its settings.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
}

impl ObjectStoreConfig {
    /// A folder.
    pub fn filesystem(directory: impl Into<PathBuf>) -> Self {
        ObjectStoreConfig::Filesystem(FilesystemConfig { directory: directory.into() })
    }

    /// Builds the store; requests are counted in `metrics`. The S3 client retries by itself and sets its own timeouts,
    /// a folder gets the decorator that does so: nothing is retried twice.
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
        // The TLS library has no default of its own; the first one to install a provider wins, which is fine.
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
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_with_defaults_and_mistakes_are_named() {
        let s3: ObjectStoreConfig = serde_json::from_str(
            r#"{"type":"s3","bucket":"b","endpoint":"http://localhost:9000","access_key":"me-hush","secret_key":"hush"}"#,
        )
        .unwrap();
        let ObjectStoreConfig::S3(config) = &s3 else { panic!("{s3:?}") };
        assert!(config.path_style && config.region == "us-east-1" && config.max_retries == 8);
        assert!(!format!("{s3:?}").contains("hush"));
        let printed = serde_json::to_string(&s3).unwrap();
        assert!(!printed.contains("hush") && printed.matches("<secret>").count() == 2, "{printed}");
        let error = serde_json::from_str::<ObjectStoreConfig>(r#"{"type":"s3","bucket":"b","regio":"x"}"#).unwrap_err();
        assert!(error.to_string().contains("regio"), "{error}");
        assert!(serde_json::from_str::<ObjectStoreConfig>(r#"{"type":"gcs"}"#).is_err());
    }

    #[test]
    fn both_kinds_are_built() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = || StoreMetrics::new(&prometheus::Registry::new()).unwrap();
        ObjectStoreConfig::filesystem(folder.path().join("a/b")).build(metrics()).unwrap();
        let s3 = r#"{"type":"s3","bucket":"b","endpoint":"http://localhost:9","prefix":"/x/","access_key":"a","secret_key":"s"}"#;
        serde_json::from_str::<ObjectStoreConfig>(s3).unwrap().build(metrics()).unwrap();
        assert!(ObjectStoreConfig::filesystem("/proc/nothing").build(metrics()).is_err());
    }
}
