//! The keys of groups in the bucket: `@_pharos/rules/<tenant>/<namespace>/<group>.yaml`, below the folder of the system, so
//! that one listing finds the groups of all tenants.

use object_store::path::Path;
use pharos_model::TenantId;
use pharos_model::tenant::{SYSTEM_FOLDER, file_name, of_file_name};

/// The folder of all groups, in [`SYSTEM_FOLDER`].
const FOLDER: &str = "rules";
const SUFFIX: &str = ".yaml";

/// Whose group an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) tenant: TenantId,
    pub(super) namespace: String,
    pub(super) group: String,
}

/// The folder of all groups.
pub(super) fn root() -> Path {
    Path::from_iter([SYSTEM_FOLDER, FOLDER])
}

/// The folder of a tenant, or of one of its namespaces.
pub(super) fn folder(tenant: &TenantId, namespace: Option<&str>) -> Path {
    let parts = [SYSTEM_FOLDER.to_string(), FOLDER.to_string(), tenant.folder()];
    Path::from_iter(parts.into_iter().chain(namespace.map(file_name)))
}

/// The key of a group.
pub(super) fn of_group(tenant: &TenantId, namespace: &str, group: &str) -> Path {
    folder(tenant, Some(namespace)).join(format!("{}{SUFFIX}", file_name(group)))
}

/// Whose group the object with a key is. None for other objects.
pub(super) fn parse(path: &Path) -> Option<Place> {
    let parts: Vec<_> = path.parts().collect();
    let [system, folder, tenant, namespace, file] = parts.as_slice() else { return None };
    if (system.as_ref(), folder.as_ref()) != (SYSTEM_FOLDER, FOLDER) {
        return None;
    }
    let place = Place {
        tenant: TenantId::of_folder(tenant.as_ref())?,
        namespace: of_file_name(namespace.as_ref())?,
        group: of_file_name(file.as_ref().strip_suffix(SUFFIX)?)?,
    };
    // A tenant may have had another folder in earlier versions, but never one for rules.
    (of_group(&place.tenant, &place.namespace, &place.group) == *path).then_some(place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn keys_are_read_as_they_were_written(tenant in "[a-zA-Z.]{3,9}", namespace in "\\PC{1,50}", group in "[a-c./]{1,9}") {
            let place = Place { tenant: TenantId::new(&tenant).unwrap(), namespace, group };
            let path = of_group(&place.tenant, &place.namespace, &place.group);
            prop_assert!(path.prefix_matches(&folder(&place.tenant, None)));
            prop_assert!(path.parts().all(|part| part.as_ref().len() <= 255));
            prop_assert_eq!(parse(&path), Some(place));
        }

        #[test]
        fn other_keys_are_no_groups(key in "[a-z@_/.]{0,40}") {
            let path = Path::from(format!("@_pharos/rules/{key}"));
            if let Some(place) = parse(&path) {
                prop_assert_eq!(of_group(&place.tenant, &place.namespace, &place.group), path);
            }
        }
    }
}
