//! The section of SNS.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_config::{ConfigError, HttpConfig, Secret};

use super::{Sns, credentials};
use crate::config::{Section, section};
use crate::integration::{IntegrationConfig, Notifier};
use crate::receivers::http_section;

section! {
    /// An entry of `sns_configs`.
    pub struct SnsConfig {
        /// Whether to notify about resolved alerts (default: true).
        pub send_resolved: bool = true,
        /// The HTTP client.
        pub http_config: Option<HttpConfig>,
        /// The interface, if it is not that of the region.
        pub api_url: String,
        /// The credentials.
        pub sigv4: SigV4Config,
        /// The topic.
        pub topic_arn: String,
        /// The phone.
        pub phone_number: String,
        /// The endpoint.
        pub target_arn: String,
        /// The title of mails.
        pub subject: String = r#"{{ template "sns.default.subject" . }}"#,
        /// The text.
        pub message: String = r#"{{ template "sns.default.message" . }}"#,
        /// Attributes of the message.
        pub attributes: BTreeMap<String, String>,
        /// Accepted and without effect: there is one HTTP client only.
        pub use_aws_http_client: bool,
    }
}

section! {
    /// How requests to AWS are signed. Unset values come from the environment and the profile.
    pub struct SigV4Config {
        /// The region.
        pub region: String,
        /// The access key.
        pub access_key: String,
        /// The secret key.
        pub secret_key: Secret,
        /// The profile of the file with credentials.
        pub profile: String,
        /// The role to assume.
        pub role_arn: String,
        /// The identifier that the role demands.
        pub external_id: String,
        /// The name of the session.
        pub session_name: String,
        /// The tags of the session.
        pub tags: BTreeMap<String, String>,
        /// Whether roles are assumed at an endpoint that follows FIPS.
        pub use_fips_sts_endpoint: bool,
        /// Accepted and without effect: the service is SNS.
        pub service_name: String,
    }
}

impl crate::config::omit::Omit for SigV4Config {}

impl SigV4Config {
    fn check(&self) -> Result<(), String> {
        let name = self.session_name.as_bytes();
        let is_word = name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(byte));
        let refuse = |message: &str| Err(message.to_string());
        if self.access_key.is_empty() != self.secret_key.is_empty() {
            return refuse(
                "must provide a AWS SigV4 Access key and Secret Key if credentials are specified in the SigV4 config",
            );
        }
        let of_roles = [
            ("external_id", !self.external_id.is_empty()),
            ("session_name", !name.is_empty()),
            ("tags", !self.tags.is_empty()),
        ];
        if let Some((field, _)) = of_roles.iter().find(|(_, is_set)| *is_set && self.role_arn.is_empty()) {
            return Err(format!("{field} can only be used with role_arn"));
        }
        let is_valid = name.is_empty() || is_word && (2..=64).contains(&name.len());
        if !is_valid {
            return refuse("session_name must have 2-64 alphanumeric and +=,.@- characters");
        }
        match self.tags.iter().find(|(tag, value)| tag.is_empty() || tag.len() > 128 || value.len() > 256) {
            Some((tag, _)) => {
                Err(format!("tag {tag:?} must have a key of 1-128 and a value of at most 256 characters"))
            }
            None => Ok(()),
        }
    }
}

impl Section for SnsConfig {
    const NAME: &'static str = "sns";

    fn check(&mut self) -> Result<(), String> {
        self.sigv4.check()?;
        let places = [&self.target_arn, &self.topic_arn, &self.phone_number];
        match places.iter().filter(|place| !place.is_empty()).count() {
            // As in Alertmanager, all three pass.
            1 | 3 => Ok(()),
            _ => Err("must provide either a Target ARN, Topic ARN, or Phone Number for SNS config".into()),
        }
    }
}

http_section!(SnsConfig);

impl IntegrationConfig for SnsConfig {
    const KIND: &'static str = "sns";

    fn send_resolved(&self) -> bool {
        self.send_resolved
    }

    fn notifier(&self) -> Result<Arc<dyn Notifier>, ConfigError> {
        let client = crate::receivers::client(&self.http_config)?;
        let credentials = credentials::Chain::new(self.sigv4.clone());
        Ok(Arc::new(Sns { client, credentials, config: self.clone() }))
    }
}
