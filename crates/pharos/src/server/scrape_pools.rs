//! What the API shows of scrape pools: their configuration, and relabelling rule by rule.

use std::collections::BTreeMap;

use pharos_api::services::RelabelStep;
use pharos_config::{RelabelConfig, RelabelRule, ScrapeConfig};
use pharos_model::{Labels, LabelsBuilder};

use crate::config::Loaded;

/// A rule may double the labels, so the steps of many rules could be of any size.
const MAX_STEP_BYTES: usize = 16 << 20;

/// The section of a pool as YAML, without secrets.
///
/// # Errors
/// There is no such pool.
pub(super) fn yaml(loaded: &Loaded, pool: &str) -> Result<String, String> {
    let (section, _) = find(loaded, pool)?;
    serde_saphyr::to_string(section).map_err(|e| format!("cannot print the scrape pool {pool:?}: {e}"))
}

/// The steps from discovered labels to those of the target.
///
/// # Errors
/// There is no such pool, or the labels become too large.
pub(super) fn relabel_steps(
    loaded: &Loaded,
    pool: &str,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<RelabelStep>, String> {
    let (section, rules) = find(loaded, pool)?;
    steps(section.relabel_configs.iter().flatten().zip(rules), labels)
}

fn find<'a>(loaded: &'a Loaded, pool: &str) -> Result<(&'a ScrapeConfig, &'a [RelabelRule]), String> {
    let section = loaded.config.scrape_configs.iter().find(|section| section.job_name == pool);
    let resolved = loaded.scrape.iter().find(|resolved| resolved.job_name == pool);
    let found = section.zip(resolved).map(|(section, resolved)| (section, &*resolved.relabel));
    found.ok_or_else(|| format!("scrape pool {pool:?} not found"))
}

/// Applies rules one after the other. Once one drops the target, the others have nothing to do.
fn steps<'a>(
    rules: impl Iterator<Item = (&'a RelabelConfig, &'a RelabelRule)>,
    labels: &BTreeMap<String, String>,
) -> Result<Vec<RelabelStep>, String> {
    let mut builder = LabelsBuilder::from_labels(&Labels::from_pairs(labels));
    let (mut keep, mut bytes, mut steps) = (true, 0, Vec::new());
    for (config, rule) in rules {
        keep = keep && rule.apply(&mut builder);
        let output: BTreeMap<String, String> = match keep {
            true => builder.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            false => BTreeMap::new(),
        };
        bytes += output.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        if bytes > MAX_STEP_BYTES {
            return Err(format!("the labels of all steps are larger than {MAX_STEP_BYTES} bytes"));
        }
        let rule = serde_json::to_value(config).map_err(|e| e.to_string())?;
        steps.push(RelabelStep { rule, output, keep });
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use pharos_config::ValidationScheme;

    use super::*;

    fn run(rules: &str, labels: &[(&str, &str)]) -> Result<Vec<RelabelStep>, String> {
        let configs: Vec<RelabelConfig> = serde_saphyr::from_str(rules).unwrap();
        let compiled: Vec<RelabelRule> =
            configs.iter().map(|config| RelabelRule::new(config.clone(), ValidationScheme::Utf8).unwrap()).collect();
        let labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        steps(configs.iter().zip(&compiled), &labels)
    }

    #[test]
    fn each_rule_shows_the_labels_after_it_until_one_drops_the_target() {
        let rules = "
- {source_labels: [__address__], target_label: instance}
- {source_labels: [env], regex: prod, action: keep}
- {target_label: never, replacement: reached}
";
        let steps = run(rules, &[("__address__", "a:80"), ("env", "test")]).unwrap();
        assert_eq!(steps.iter().map(|step| step.keep).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(steps[0].output["instance"], "a:80");
        assert_eq!(steps[0].rule["target_label"], "instance");
        assert!(steps[1].output.is_empty() && steps[2].output.is_empty());
    }

    #[test]
    fn labels_that_rules_make_ever_larger_are_refused() {
        let rules = "- {source_labels: [a, a], separator: '', target_label: a}\n".repeat(30);
        let error = run(&rules, &[("a", "0123456789")]).unwrap_err();
        assert!(error.contains("larger than"), "{error}");
    }
}
