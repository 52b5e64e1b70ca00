//! A receiver and its integrations.

use pharos_config::ConfigError;

use crate::config::{ReceiverConfig, for_each_list};
use crate::integration::{Integration, IntegrationConfig};
use crate::templates::Templates;

/// A receiver: where the notifications of a route go.
#[derive(Debug)]
pub struct Receiver {
    /// The name.
    pub name: String,
    /// The integrations, all of which get every notification.
    pub integrations: Vec<Integration>,
}

impl Receiver {
    /// Builds the integrations of a receiver that has been [resolved](ReceiverConfig::resolve).
    ///
    /// # Errors
    /// A client cannot be built, or a file with a secret cannot be read.
    pub fn new(config: &ReceiverConfig, templates: &Templates) -> Result<Self, ConfigError> {
        let mut integrations = Vec::new();
        macro_rules! add {
            ($($list:ident: $config:ident,)*) => {
                $(add(&config.$list, templates, &mut integrations)?;)*
            };
        }
        for_each_list!(add);
        Ok(Receiver { name: config.name.clone(), integrations })
    }
}

fn add<C: IntegrationConfig>(
    configs: &[C],
    templates: &Templates,
    integrations: &mut Vec<Integration>,
) -> Result<(), ConfigError> {
    for (index, config) in configs.iter().enumerate() {
        integrations.push(Integration::new(config, index, templates)?);
    }
    Ok(())
}
