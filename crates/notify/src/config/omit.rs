//! Which fields are left out when a section is printed: those that are empty.

use std::collections::BTreeMap;

use pharos_config::{PromDuration, Secret};

/// A value of a field.
pub(crate) trait Omit {
    /// Whether the field is left out.
    fn is_omitted(&self) -> bool {
        false
    }
}

impl Omit for bool {}
impl Omit for i64 {}
impl Omit for u64 {}
impl Omit for PromDuration {}
impl Omit for super::GoDuration {}

impl Omit for String {
    fn is_omitted(&self) -> bool {
        self.is_empty()
    }
}

impl Omit for Secret {
    fn is_omitted(&self) -> bool {
        self.is_empty()
    }
}

impl<T> Omit for Option<T> {
    fn is_omitted(&self) -> bool {
        self.is_none()
    }
}

impl<T> Omit for Vec<T> {
    fn is_omitted(&self) -> bool {
        self.is_empty()
    }
}

impl<V> Omit for BTreeMap<String, V> {
    fn is_omitted(&self) -> bool {
        self.is_empty()
    }
}

/// [`Omit::is_omitted`] for serde.
pub(crate) fn is_omitted<T: Omit>(value: &T) -> bool {
    value.is_omitted()
}
