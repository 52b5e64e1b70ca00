//! Tenants: isolated sets of series, named by the `X-Scope-OrgID` header.

mod folder;

use std::fmt;
use std::sync::Arc;

pub use folder::{SYSTEM_FOLDER, file_name, of_file_name};

/// A tenant's name: 1 to 150 bytes of `[a-zA-Z0-9!_.*'()-]`, as Mimir and Cortex allow, but not `.` or `..`. Its blocks
/// are in [`TenantId::folder`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TenantId(Arc<str>);

/// Why a text is not the name of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    /// Empty, `.` or `..`, or longer than 150 bytes.
    #[error("tenant {0:?} must be 1 to 150 bytes long and not '.' or '..'")]
    Length(String),
    /// A character outside the allowed set.
    #[error("tenant {0:?} contains the unsupported character {1:?}")]
    Character(String, char),
}

impl TenantId {
    /// The tenant of requests that name none.
    pub const ANONYMOUS: &'static str = "anonymous";

    /// The tenant of a name.
    ///
    /// # Errors
    /// The name is too long or has a character that names must not have.
    pub fn new(name: &str) -> Result<Self, TenantError> {
        if name.is_empty() || name.len() > 150 || name == "." || name == ".." {
            return Err(TenantError::Length(name.chars().take(160).collect()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "!_.*'()-".contains(c);
        match name.chars().find(|&c| !allowed(c)) {
            Some(c) => Err(TenantError::Character(name.to_string(), c)),
            None => Ok(TenantId(Arc::from(name))),
        }
    }

    /// The name as a string.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    fn default() -> Self {
        TenantId(Arc::from(Self::ANONYMOUS))
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_letters_digits_and_some_punctuation() {
        for name in ["a", "team-a_1.prod", "!_.*'()-", "...", &"x".repeat(150)] {
            assert_eq!(TenantId::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_of_other_characters_or_of_paths_are_refused() {
        for name in ["", ".", ".."] {
            assert!(matches!(TenantId::new(name), Err(TenantError::Length(_))), "{name}");
        }
        for (name, c) in [("a/b", '/'), ("a\\b", '\\'), ("a b", ' '), ("é", 'é'), ("a\0", '\0')] {
            assert_eq!(TenantId::new(name), Err(TenantError::Character(name.into(), c)));
        }
    }

    #[test]
    fn a_long_name_is_shortened_in_the_error() {
        assert_eq!(TenantId::new(&"x".repeat(200)), Err(TenantError::Length("x".repeat(160))));
    }

    #[test]
    fn requests_that_name_no_tenant_have_one() {
        assert_eq!(TenantId::default().to_string(), "anonymous");
    }
}
