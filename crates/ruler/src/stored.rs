//! The groups of the rule API, which are objects in the bucket: one a group, so that writers need not know of each other.
//!
//! Rulers list these objects from time to time, and soon after a change through the API ([`follow`]); they read only those
//! that have changed. An object that cannot be read leaves the group as it was.

mod path;
mod scan;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use pharos_model::TenantId;
use pharos_rules::file::to_yaml;
use pharos_rules::{RuleGroup, RuleGroups};

pub use scan::follow;

/// The largest group, bytes of YAML.
pub const MAX_GROUP_BYTES: usize = 1 << 20;
/// The longest name of a namespace or a group, bytes.
const MAX_NAME_BYTES: usize = 150;
/// The most groups of a tenant.
const MAX_GROUPS: usize = 1000;
/// Objects that are read at the same time.
const CONCURRENT_READS: usize = 16;

/// Why the groups of the API were not read or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredRulesError {
    /// The request is not valid.
    #[error("{0}")]
    Invalid(String),
    /// There is no such group or namespace.
    #[error("{0}")]
    NotFound(&'static str),
    /// The bucket cannot be read or written.
    #[error("the bucket cannot be reached: {0}")]
    Unavailable(String),
    /// An object in the bucket is damaged.
    #[error("{0}")]
    Damaged(String),
}

use StoredRulesError::{Damaged, Invalid, NotFound, Unavailable};

impl From<object_store::Error> for StoredRulesError {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => NotFound("group does not exist"),
            error => Unavailable(error.to_string()),
        }
    }
}

/// The groups of the rule API in the bucket.
#[derive(Clone)]
pub struct StoredRules {
    objects: Arc<dyn ObjectStore>,
}

impl StoredRules {
    /// The groups in a bucket.
    pub fn new(objects: Arc<dyn ObjectStore>) -> Self {
        StoredRules { objects }
    }

    /// The groups of a tenant by namespace, of all namespaces or of one.
    ///
    /// # Errors
    /// There are none, or the bucket cannot be read.
    pub async fn list(
        &self,
        tenant: &TenantId,
        namespace: Option<&str>,
    ) -> Result<BTreeMap<String, Vec<RuleGroup>>, StoredRulesError> {
        let found = self.found(tenant, namespace).await?;
        let reads = futures::stream::iter(found).map(|object| async move {
            let place = path::parse(&object.location).ok_or(NotFound("no rule groups found"))?;
            match self.read(&object.location).await {
                Ok(group) => Ok(Some((place.namespace, group))),
                // It was deleted meanwhile.
                Err(NotFound(_)) => Ok(None),
                Err(error) => Err(error),
            }
        });
        let read: Vec<Option<(String, RuleGroup)>> = reads.buffered(CONCURRENT_READS).try_collect().await?;
        let mut groups: BTreeMap<String, Vec<RuleGroup>> = BTreeMap::new();
        for (namespace, group) in read.into_iter().flatten() {
            groups.entry(namespace).or_default().push(group);
        }
        groups.values_mut().for_each(|groups| groups.sort_by(|a, b| a.name.cmp(&b.name)));
        if groups.is_empty() { Err(NotFound("no rule groups found")) } else { Ok(groups) }
    }

    /// A group.
    ///
    /// # Errors
    /// It does not exist, or the bucket cannot be read.
    pub async fn get(&self, tenant: &TenantId, namespace: &str, group: &str) -> Result<RuleGroup, StoredRulesError> {
        self.read(&path::of_group(tenant, checked(namespace)?, checked(group)?)).await
    }

    /// Creates or replaces a group, which is YAML.
    ///
    /// # Errors
    /// The group is not valid, there are too many, or the bucket cannot be written.
    pub async fn set(&self, tenant: &TenantId, namespace: &str, text: &str) -> Result<(), StoredRulesError> {
        if text.len() > MAX_GROUP_BYTES {
            return Err(Invalid(format!("the rule group has {} bytes, the limit is {MAX_GROUP_BYTES}", text.len())));
        }
        let group = parse(text).map_err(Invalid)?;
        let path = path::of_group(tenant, checked(namespace)?, checked(&group.name)?);
        let found = self.found(tenant, None).await?;
        if found.len() >= MAX_GROUPS && !found.iter().any(|object| object.location == path) {
            let limit =
                format!("per-user rule groups limit (limit: {MAX_GROUPS} actual: {}) exceeded", found.len() + 1);
            return Err(Invalid(limit));
        }
        let written = to_yaml(&group).map_err(Invalid)?;
        self.objects.put(&path, written.into()).await?;
        Ok(())
    }

    /// Deletes a group.
    ///
    /// # Errors
    /// It does not exist, or the bucket cannot be written.
    pub async fn delete(&self, tenant: &TenantId, namespace: &str, group: &str) -> Result<(), StoredRulesError> {
        let path = path::of_group(tenant, checked(namespace)?, checked(group)?);
        // A deletion of what does not exist may succeed.
        self.objects.head(&path).await?;
        Ok(self.objects.delete(&path).await?)
    }

    /// Deletes all groups of a namespace.
    ///
    /// # Errors
    /// It has none, or the bucket cannot be written.
    pub async fn delete_namespace(&self, tenant: &TenantId, namespace: &str) -> Result<(), StoredRulesError> {
        let found = self.found(tenant, Some(checked(namespace)?)).await?;
        if found.is_empty() {
            return Err(NotFound("no rule groups found"));
        }
        for object in found {
            self.objects.delete(&object.location).await?;
        }
        Ok(())
    }

    /// The objects of a tenant's groups, of all namespaces or of one.
    async fn found(&self, tenant: &TenantId, namespace: Option<&str>) -> Result<Vec<ObjectMeta>, StoredRulesError> {
        let folder = path::folder(tenant, namespace.map(checked).transpose()?);
        let listed = self.objects.list(Some(&folder)).try_filter(|object| {
            let is_group = path::parse(&object.location).is_some();
            async move { is_group }
        });
        Ok(listed.take(MAX_GROUPS + 1).try_collect().await?)
    }

    async fn read(&self, path: &Path) -> Result<RuleGroup, StoredRulesError> {
        let object = self.objects.get(path).await?;
        if object.meta.size > 2 * MAX_GROUP_BYTES as u64 {
            return Err(Damaged(format!("{path}: it has {} bytes, more than any group", object.meta.size)));
        }
        let bytes = object.bytes().await?;
        let text = std::str::from_utf8(&bytes).map_err(|error| Damaged(format!("{path}: {error}")))?;
        parse(text).map_err(|mistakes| Damaged(format!("{path}: {mistakes}")))
    }
}

/// A name of a namespace or a group that can be the name of an object.
fn checked(name: &str) -> Result<&str, StoredRulesError> {
    match name.len() {
        0 => Err(Invalid("a name is empty".into())),
        1..=MAX_NAME_BYTES => Ok(name),
        bytes => Err(Invalid(format!("a name has {bytes} bytes, the limit is {MAX_NAME_BYTES}"))),
    }
}

fn parse(text: &str) -> Result<RuleGroup, String> {
    RuleGroups::parse_group(text)
        .map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests;
