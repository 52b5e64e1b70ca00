//! Where credentials of AWS come from: the section, the environment, the file of profiles, and a role that they may assume.

use std::path::PathBuf;

use jiff::Timestamp;
use parking_lot::Mutex;
use pharos_config::Secret;
use pharos_http_client::HttpClient;

use super::config::SigV4Config;
use super::{element, query, refusal};
use crate::config::ApiUrl;
use crate::error::{FailureReason, NotifyError};
use crate::http::check;

/// How long a role is assumed, seconds.
const SESSION_SECONDS: i64 = 900;
/// How long before its end a session is replaced, seconds.
const RENEWAL_SECONDS: i64 = 60;

/// What signs a request.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    pub(super) access_key: String,
    pub(super) secret_key: Secret,
    /// Of a session; empty otherwise.
    pub(super) token: Secret,
}

/// Finds credentials.
pub(super) struct Chain {
    config: SigV4Config,
    /// Of the role, with the time at which they were asked for.
    assumed: Mutex<Option<(Credentials, Timestamp)>>,
}

fn missing(message: impl Into<String>) -> NotifyError {
    NotifyError::temporary(FailureReason::Other, message)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Chain {
    pub(super) fn new(config: SigV4Config) -> Self {
        Chain { config, assumed: Mutex::default() }
    }

    /// The region.
    pub(super) async fn region(&self) -> Result<String, NotifyError> {
        let set = Some(self.config.region.clone()).filter(|region| !region.is_empty());
        let region = set.or_else(|| variable("AWS_REGION")).or_else(|| variable("AWS_DEFAULT_REGION"));
        let region = match region {
            Some(region) => Some(region),
            None => {
                self.of_profile("AWS_CONFIG_FILE", ".aws/config", &["region"]).await.map(|mut found| found.remove(0))
            }
        };
        let unset = "region not configured in sns.sigv4.region or in default credentials chain";
        region.ok_or_else(|| missing(unset))
    }

    /// The credentials at a moment.
    pub(super) async fn get(
        &self,
        client: &HttpClient,
        region: &str,
        now: Timestamp,
    ) -> Result<Credentials, NotifyError> {
        if self.config.role_arn.is_empty() {
            return self.own().await;
        }
        let is_fresh = |assumed: &(Credentials, Timestamp)| {
            (now.as_second() - assumed.1.as_second()).abs() < SESSION_SECONDS - RENEWAL_SECONDS
        };
        if let Some((credentials, _)) = self.assumed.lock().clone().filter(is_fresh) {
            return Ok(credentials);
        }
        let credentials = self.assume(client, region, now).await.map_err(|e| e.within("assume role"))?;
        *self.assumed.lock() = Some((credentials.clone(), now));
        Ok(credentials)
    }

    /// The credentials without a role.
    async fn own(&self) -> Result<Credentials, NotifyError> {
        let config = &self.config;
        if !config.access_key.is_empty() {
            let (access_key, secret_key) = (config.access_key.clone(), config.secret_key.clone());
            return Ok(Credentials { access_key, secret_key, token: Secret::default() });
        }
        if config.profile.is_empty()
            && let (Some(access_key), Some(secret_key)) =
                (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"))
        {
            let token = Secret::new(variable("AWS_SESSION_TOKEN").unwrap_or_default());
            return Ok(Credentials { access_key, secret_key: Secret::new(secret_key), token });
        }
        let keys = ["aws_access_key_id", "aws_secret_access_key"];
        let found = self.of_profile("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", &keys).await;
        let Some([access_key, secret_key]) = found.and_then(|found| <[String; 2]>::try_from(found).ok()) else {
            return Err(missing("no AWS credentials in sigv4, in the environment or in the profile"));
        };
        let token = self.of_profile("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials", &["aws_session_token"]).await;
        let token = Secret::new(token.map(|mut found| found.remove(0)).unwrap_or_default());
        Ok(Credentials { access_key, secret_key: Secret::new(secret_key), token })
    }

    /// Settings of the profile; `None` unless all are there.
    async fn of_profile(&self, variable_name: &str, file: &str, names: &[&str]) -> Option<Vec<String>> {
        let path = match variable(variable_name) {
            Some(path) => PathBuf::from(path),
            None => PathBuf::from(variable("HOME")?).join(file),
        };
        let text = tokio::fs::read_to_string(path).await.ok()?;
        let profile = match self.config.profile.as_str() {
            "" => variable("AWS_PROFILE").unwrap_or_else(|| "default".into()),
            profile => profile.to_string(),
        };
        names.iter().map(|name| setting(&text, &profile, name)).collect()
    }

    async fn assume(&self, client: &HttpClient, region: &str, now: Timestamp) -> Result<Credentials, NotifyError> {
        let config = &self.config;
        let service = if config.use_fips_sts_endpoint { "sts-fips" } else { "sts" };
        let url =
            variable("AWS_ENDPOINT_URL_STS").unwrap_or_else(|| format!("https://{service}.{region}.amazonaws.com/"));
        let url = ApiUrl::parse(&url).map_err(missing)?.as_folder();
        let session = match config.session_name.as_str() {
            "" => now.as_nanosecond().to_string(),
            name => name.to_string(),
        };
        let mut parameters = vec![
            ("Action".to_string(), "AssumeRole".to_string()),
            ("Version".into(), "2011-06-15".into()),
            ("DurationSeconds".into(), SESSION_SECONDS.to_string()),
            ("RoleArn".into(), config.role_arn.clone()),
            ("RoleSessionName".into(), session),
        ];
        if !config.external_id.is_empty() {
            parameters.push(("ExternalId".into(), config.external_id.clone()));
        }
        for (index, (tag, value)) in config.tags.iter().enumerate() {
            parameters.push((format!("Tags.member.{}.Key", index + 1), tag.clone()));
            parameters.push((format!("Tags.member.{}.Value", index + 1), value.clone()));
        }
        let own = self.own().await?;
        let response = query(client, &url, "sts", region, &own, parameters, now).await?;
        check(&response, &[], refusal)?;
        let body = String::from_utf8_lossy(&response.body);
        let part =
            |name| element(&body, name).map(str::to_string).ok_or_else(|| missing(format!("no {name} in the answer")));
        Ok(Credentials {
            access_key: part("AccessKeyId")?,
            secret_key: Secret::new(part("SecretAccessKey")?),
            token: Secret::new(part("SessionToken")?),
        })
    }
}

/// A setting of a profile in a file of AWS.
fn setting(text: &str, profile: &str, name: &str) -> Option<String> {
    let mut is_inside = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let section = section.trim();
            is_inside = section.strip_prefix("profile ").unwrap_or(section).trim() == profile;
        } else if is_inside
            && let Some((key, value)) = line.split_once('=')
            && key.trim() == name
        {
            return Some(value.trim().to_string());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_those_of_the_profile() {
        let text = "[default]\nregion = eu-west-1\n[profile work]\nregion=us-east-1\n";
        assert_eq!(setting(text, "default", "region").as_deref(), Some("eu-west-1"));
        assert_eq!(setting(text, "work", "region").as_deref(), Some("us-east-1"));
        assert_eq!(setting(text, "none", "region"), None);
    }
}
