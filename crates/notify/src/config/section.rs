//! How sections are declared and read.

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _};

/// A section that checks itself.
pub(crate) trait Section: DeserializeOwned {
    /// What errors call the section.
    const NAME: &'static str;

    /// Checks the section and brings it into its normal form.
    ///
    /// # Errors
    /// What is wrong, in Alertmanager's words.
    fn check(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// Declares a section: its fields with their defaults. Other fields are unknown, and empty ones are not printed.
macro_rules! section {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$field_meta:meta])* pub $field:ident: $type:ty $(= $default:expr)?,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Deserialize, serde::Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_meta])* #[serde(skip_serializing_if = "crate::config::omit::is_omitted")] pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $($field: section!(@value $($default)?),)* }
            }
        }
    };
    (@value) => { Default::default() };
    (@value $default:expr) => { $default.into() };
}
pub(crate) use section;

/// A section that was checked when it was read.
struct Checked<T>(T);

impl<'de, T: Section> Deserialize<'de> for Checked<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let section = Option::<T>::deserialize(deserializer)?;
        let mut section = section.ok_or_else(|| D::Error::custom(format!("missing {} config", T::NAME)))?;
        section.check().map_err(D::Error::custom)?;
        Ok(Checked(section))
    }
}

/// Reads a list of sections. An empty list may be `null`, its entries may not.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Section>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let list = Option::<Vec<Checked<T>>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(list.into_iter().map(|Checked(section)| section).collect())
}

/// Refuses two settings of which at most one may be set.
pub(crate) fn at_most_one(first: (&str, bool), second: (&str, bool)) -> Result<(), String> {
    match first.1 && second.1 {
        true => Err(format!("at most one of {} & {} must be configured", first.0, second.0)),
        false => Ok(()),
    }
}

/// Refuses a secret, or its file, if both are set.
pub(crate) fn secret_or_file(name: &str, has_secret: bool, file: &str) -> Result<(), String> {
    at_most_one((name, has_secret), (&format!("{name}_file"), !file.is_empty()))
}
