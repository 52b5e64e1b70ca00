//! How a ruler keeps in step with the groups in the bucket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use pharos_model::TenantId;
use pharos_rules::{RuleGroup, RuleGroups};
use tokio::sync::watch;

use super::path::{self, Place};
use super::{CONCURRENT_READS, StoredRules, StoredRulesError};
use crate::ruler::{RuleFile, Ruler};

/// Time between two listings.
const INTERVAL: Duration = Duration::from_secs(30);
/// The most groups of all tenants.
const MAX_OBJECTS: usize = 100_000;

/// The groups that were read, by the keys of their objects.
#[derive(Default)]
struct Known(BTreeMap<Path, KnownGroup>);

struct KnownGroup {
    /// The object as it was when it was read.
    object: ObjectMeta,
    place: Place,
    /// None until the object can be read.
    group: Option<Arc<RuleGroup>>,
}

/// Keeps the groups of a ruler in step with those in the bucket until `stop` becomes true.
pub async fn follow(ruler: Arc<Ruler>, stored: StoredRules, mut stop: watch::Receiver<bool>) {
    let mut known = Known::default();
    let mut was_reached = true;
    loop {
        let updated = tokio::select! {
            updated = known.update(&stored) => updated,
            // The bucket may not answer.
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match &updated {
            Ok(true) => ruler.set_stored(known.files()),
            Err(error) if was_reached => tracing::warn!(
                %error,
                "could not read the groups of the rule API; keeping those that are known, and trying again every {INTERVAL:?}"
            ),
            Ok(false) | Err(_) => {}
        }
        was_reached = updated.is_ok();
        tokio::select! {
            () = ruler.clock().sleep(INTERVAL) => {}
            () = ruler.refresh.notified() => {}
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

impl Known {
    /// Reads what has changed. Returns whether anything has.
    async fn update(&mut self, stored: &StoredRules) -> Result<bool, StoredRulesError> {
        let listed = stored.objects.list(Some(&path::root())).take(MAX_OBJECTS + 1);
        let listed: Vec<ObjectMeta> = listed.try_collect().await?;
        if listed.len() > MAX_OBJECTS {
            return Err(StoredRulesError::Invalid(format!("the bucket has more than {MAX_OBJECTS} groups")));
        }
        let listed: BTreeMap<Path, ObjectMeta> =
            listed.into_iter().map(|object| (object.location.clone(), object)).collect();
        let before = self.0.len();
        self.0.retain(|path, _| listed.contains_key(path));
        let mut has_changed = self.0.len() != before;
        let is_new = |object: &ObjectMeta| self.0.get(&object.location).is_none_or(|known| known.object != *object);
        let new: Vec<ObjectMeta> = listed.into_values().filter(is_new).collect();
        let mut reads = futures::stream::iter(new)
            .map(|object| async move { (stored.read(&object.location).await, object) })
            .buffer_unordered(CONCURRENT_READS);
        while let Some((read, object)) = reads.next().await {
            has_changed |= self.take(object, read)?;
        }
        Ok(has_changed)
    }

    /// Takes what an object has. Returns whether the groups have changed.
    fn take(
        &mut self,
        object: ObjectMeta,
        read: Result<RuleGroup, StoredRulesError>,
    ) -> Result<bool, StoredRulesError> {
        let Some(place) = path::parse(&object.location) else { return Ok(false) };
        let group = match read {
            Ok(group) if group.name == place.group => Some(Arc::new(group)),
            Err(StoredRulesError::NotFound(_)) => return Ok(self.0.remove(&object.location).is_some()),
            Err(error @ StoredRulesError::Unavailable(_)) => return Err(error),
            Ok(RuleGroup { name, .. }) => {
                tracing::error!(path = %object.location, name, "a group of the rule API has another name than its object; ignoring it");
                None
            }
            Err(error) => {
                tracing::error!(%error, "a group of the rule API cannot be read; keeping it as it was");
                None
            }
        };
        let earlier = self.0.remove(&object.location).and_then(|known| known.group);
        let has_changed = group.is_some() && group != earlier;
        let known = KnownGroup { place, group: group.or(earlier), object: object.clone() };
        self.0.insert(object.location, known);
        Ok(has_changed)
    }

    /// The groups by tenant and namespace.
    fn files(&self) -> Vec<Arc<RuleFile>> {
        let mut files: BTreeMap<(&TenantId, &str), Vec<RuleGroup>> = BTreeMap::new();
        for KnownGroup { place, group, .. } in self.0.values() {
            if let Some(group) = group {
                files.entry((&place.tenant, &place.namespace)).or_default().push(RuleGroup::clone(group));
            }
        }
        let file = |((tenant, namespace), groups): ((&TenantId, &str), Vec<RuleGroup>)| {
            Arc::new(RuleFile { tenant: tenant.clone(), path: namespace.to_string(), groups: RuleGroups { groups } })
        };
        files.into_iter().map(file).collect()
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).unwrap()
    }

    fn names(known: &Known) -> Vec<String> {
        let names = |file: &Arc<RuleFile>| {
            let groups: Vec<&str> = file.groups.groups.iter().map(|group| group.name.as_str()).collect();
            format!("{}/{}: {}", file.tenant, file.path, groups.join(" "))
        };
        known.files().iter().map(names).collect()
    }

    #[tokio::test]
    async fn only_what_has_changed_is_taken() {
        let stored = StoredRules::new(Arc::new(InMemory::new()));
        let mut known = Known::default();
        assert_eq!(known.update(&stored).await, Ok(false));
        for (name, namespace, group) in [("a", "n", "g"), ("a", "n", "h"), ("b", "x/y", "g")] {
            stored.set(&tenant(name), namespace, &format!("name: {group}")).await.unwrap();
        }
        assert_eq!(known.update(&stored).await, Ok(true));
        assert_eq!(names(&known), ["a/n: g h", "b/x/y: g"]);
        assert_eq!(known.update(&stored).await, Ok(false));
        stored.set(&tenant("b"), "x/y", "name: g\ninterval: 5s").await.unwrap();
        stored.delete(&tenant("a"), "n", "g").await.unwrap();
        assert_eq!(known.update(&stored).await, Ok(true));
        assert_eq!(names(&known), ["a/n: h", "b/x/y: g"]);
        assert_eq!(known.files()[1].groups.groups[0].interval_ms, Some(5000));
    }

    #[tokio::test]
    async fn a_group_whose_object_is_damaged_stays_as_it_was() {
        let stored = StoredRules::new(Arc::new(InMemory::new()));
        let mut known = Known::default();
        stored.set(&tenant("a"), "n", "name: g").await.unwrap();
        known.update(&stored).await.unwrap();
        let path = path::of_group(&tenant("a"), "n", "g");
        for damage in ["rules: [{}]", "name: other", "\u{0}", "name: g\nrules: 7"] {
            stored.objects.put(&path, damage.into()).await.unwrap();
            assert_eq!(known.update(&stored).await, Ok(false), "{damage}");
            assert_eq!(names(&known), ["a/n: g"], "{damage}");
        }
        stored.objects.put(&path::of_group(&tenant("a"), "n", "new"), "name: [".into()).await.unwrap();
        assert_eq!(known.update(&stored).await, Ok(false));
        assert_eq!(names(&known), ["a/n: g"]);
    }
}
