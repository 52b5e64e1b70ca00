//! An entry of `receivers`.

use std::collections::BTreeMap;
use std::path::Path;

use pharos_config::ConfigError;
use serde::{Deserialize, Serialize};

use super::GlobalConfig;
use super::inherit::Inherit;
use super::omit::is_omitted;
use super::section::list;
use crate::receivers::*;

/// Calls a macro with each list of a receiver, in the order in which Alertmanager numbers and sends them.
macro_rules! for_each_list {
    ($call:ident) => {
        $call! {
            webhook_configs: WebhookConfig,
            email_configs: EmailConfig,
            pagerduty_configs: PagerdutyConfig,
            opsgenie_configs: OpsGenieConfig,
            wechat_configs: WechatConfig,
            slack_configs: SlackConfig,
            victorops_configs: VictorOpsConfig,
            pushover_configs: PushoverConfig,
            sns_configs: SnsConfig,
            telegram_configs: TelegramConfig,
            discord_configs: DiscordConfig,
            webex_configs: WebexConfig,
            msteams_configs: MsTeamsConfig,
            msteamsv2_configs: MsTeamsV2Config,
            jira_configs: JiraConfig,
            incidentio_configs: IncidentioConfig,
            rocketchat_configs: RocketchatConfig,
            mattermost_configs: MattermostConfig,
        }
    };
}
pub(crate) use for_each_list;

macro_rules! declare {
    ($($list:ident: $config:ident,)*) => {
        /// A receiver: where its notifications go.
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct ReceiverConfig {
            /// The name, by which routes refer to the receiver.
            pub name: String,
            /// Labels by which receivers are found.
            #[serde(skip_serializing_if = "is_omitted")]
            pub labels: BTreeMap<String, String>,
            $(
                #[doc = concat!("Integrations of the kind that [`", stringify!($config), "`] describes.")]
                #[serde(deserialize_with = "list", skip_serializing_if = "is_omitted")]
                pub $list: Vec<$config>,
            )*
        }

        impl ReceiverConfig {
            fn inherit(&mut self, global: &GlobalConfig) -> Result<(), String> {
                $(self.$list.iter_mut().try_for_each(|config| config.inherit(global))?;)*
                Ok(())
            }

            /// Resolves relative paths of HTTP clients against the directory of the configuration file. As in Alertmanager,
            /// files with secrets are relative to the working directory.
            pub fn set_directory(&mut self, directory: &Path) {
                $(self.$list.iter_mut().for_each(|config| config.set_directory(directory));)*
            }
        }
    };
}
for_each_list!(declare);

impl ReceiverConfig {
    /// Fills in what the receiver inherits from `global`, and checks what depends on it.
    ///
    /// # Errors
    /// The receiver has no name, or something is set neither here nor in `global`. The message is Alertmanager's.
    pub fn resolve(&mut self, global: &GlobalConfig) -> Result<(), ConfigError> {
        if self.name.is_empty() {
            return Err(ConfigError::new("missing name in receiver"));
        }
        match self.labels.get("name") {
            Some(other) if *other != self.name => {
                let name = &self.name;
                let message = format!("receiver label \"name\" must match receiver name {name:?}, got {other:?}");
                return Err(ConfigError::new(message));
            }
            _ => drop(self.labels.insert("name".into(), self.name.clone())),
        }
        self.inherit(global).map_err(ConfigError::new)
    }
}
