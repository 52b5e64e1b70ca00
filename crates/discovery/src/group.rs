//! Target groups, the common form in which mechanisms list targets.

use std::collections::BTreeMap;
use std::sync::Arc;

use pharos_config::TargetGroup;
use pharos_model::Labels;

/// The labels of all targets of a mechanism; `None` before it has published any.
pub type DiscoveredTargets = Option<Arc<Vec<Labels>>>;

/// The labels of each target of a group: its address, the group's labels and those that the mechanism adds.
pub(crate) fn group_labels(group: &TargetGroup, meta: &[(&str, &str)]) -> Vec<Labels> {
    let common: BTreeMap<&str, &str> =
        group.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(meta.iter().copied()).collect();
    let common: Vec<(&str, &str)> = common.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let of_target = |address: &String| {
        let own = [("__address__", address.as_str())];
        Labels::from_pairs(common.iter().map(|(name, value)| (*name, *value)).chain(own))
    };
    group.targets.iter().map(of_target).collect()
}

/// The labels of all targets in a list of groups that was read from a file or a server. `null` groups and labels without a
/// name are errors.
pub(crate) fn checked_labels(groups: Vec<Option<TargetGroup>>, meta: &[(&str, &str)]) -> Result<Vec<Labels>, String> {
    let mut targets = Vec::new();
    for (number, group) in groups.into_iter().enumerate() {
        let group = group.ok_or_else(|| format!("nil target group item found (index {number})"))?;
        group.check_labels().map_err(|e| e.to_string())?;
        targets.extend(group_labels(&group, meta));
    }
    Ok(targets)
}
