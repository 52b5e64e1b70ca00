//! The labels of OTLP series: attributes of the point, its resource and its scope, and `job` and `instance`.

use pharos_model::{LabelsBuilder, METRIC_NAME};
use pharos_transport::otlp::common::v1::{InstrumentationScope, KeyValue};

use super::naming::label_name;
use super::values::text;
use pharos_config::OtlpConfig;

const SERVICE_NAME: &str = "service.name";
const SERVICE_NAMESPACE: &str = "service.namespace";
const SERVICE_INSTANCE: &str = "service.instance.id";
/// The attributes that become `job` and `instance`.
const IDENTIFYING: [&str; 3] = [SERVICE_NAMESPACE, SERVICE_NAME, SERVICE_INSTANCE];

/// The labels that all series of a resource share.
#[derive(Default)]
pub(super) struct ResourceLabels {
    job: String,
    instance: String,
    promoted: Vec<(String, String)>,
}

impl ResourceLabels {
    /// Computes the labels of a resource. The error names a promoted attribute that does not make a label name.
    pub(super) fn new(config: &OtlpConfig, attributes: &[KeyValue]) -> Result<Self, String> {
        let get = |name: &str| attributes.iter().find(|a| a.key == name).map(|a| text(a.value.as_ref()));
        let job = match (get(SERVICE_NAMESPACE), get(SERVICE_NAME)) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            (None, Some(name)) => name,
            (_, None) => String::new(),
        };
        let mut promoted = Vec::new();
        for attribute in attributes.iter().filter(|a| config.promotes(&a.key)) {
            promoted.push((label_name(config, &attribute.key)?.into_owned(), text(attribute.value.as_ref())));
        }
        Ok(ResourceLabels { job, instance: get(SERVICE_INSTANCE).unwrap_or_default(), promoted })
    }
}

/// The labels that all series of an instrumentation scope share, if scopes are promoted.
#[derive(Default)]
pub(super) struct ScopeLabels(Vec<(String, String)>);

impl ScopeLabels {
    /// Computes the labels of a scope. There are none if scopes are not promoted or this one has no name.
    pub(super) fn new(config: &OtlpConfig, scope: &InstrumentationScope, schema_url: &str) -> Result<Self, String> {
        if !config.promote_scope_metadata || scope.name.is_empty() {
            return Ok(ScopeLabels::default());
        }
        let mut labels = Vec::new();
        for attribute in &scope.attributes {
            let name = format!("otel_scope_{}", attribute.key);
            labels.push((label_name(config, &name)?.into_owned(), text(attribute.value.as_ref())));
        }
        for (name, value) in [("name", &*scope.name), ("version", &scope.version), ("schema_url", schema_url)] {
            labels.push((format!("otel_scope_{name}"), value.to_string()));
        }
        Ok(ScopeLabels(labels))
    }
}

/// Fills `labels` with those of a point, except for the metric name.
pub(super) fn point_labels(
    config: &OtlpConfig,
    attributes: &[KeyValue],
    resource: &ResourceLabels,
    scope: &ScopeLabels,
    labels: &mut LabelsBuilder,
) -> Result<(), String> {
    labels.clear();
    add_attributes(config, attributes, |name| name == METRIC_NAME, labels)?;
    for (name, value) in &resource.promoted {
        if labels.get(name).is_empty() {
            labels.set(name, value);
        }
    }
    add_identity(resource, labels);
    for (name, value) in &scope.0 {
        labels.set(name, value);
    }
    Ok(())
}

/// Fills `labels` with those of `target_info`. Returns false when the resource has nothing to add, or is not a target.
pub(super) fn target_info_labels(
    config: &OtlpConfig,
    attributes: &[KeyValue],
    resource: &ResourceLabels,
    labels: &mut LabelsBuilder,
) -> Result<bool, String> {
    let identifying = |name: &str| IDENTIFYING.contains(&name);
    if attributes.iter().all(|a| identifying(&a.key)) {
        return Ok(false);
    }
    labels.clear();
    let keep = config.keep_identifying_resource_attributes;
    add_attributes(config, attributes, |name| !keep && identifying(name), labels)?;
    add_identity(resource, labels);
    labels.set(METRIC_NAME, "target_info");
    Ok(!labels.get("job").is_empty() || !labels.get("instance").is_empty())
}

fn add_identity(resource: &ResourceLabels, labels: &mut LabelsBuilder) {
    for (name, value) in [("job", &resource.job), ("instance", &resource.instance)] {
        if !value.is_empty() {
            labels.set(name, value);
        }
    }
}

/// Adds attributes in the order of their keys. The values of those with the same label name are joined with `;`.
fn add_attributes(
    config: &OtlpConfig,
    attributes: &[KeyValue],
    ignored: impl Fn(&str) -> bool,
    labels: &mut LabelsBuilder,
) -> Result<(), String> {
    let mut sorted: Vec<&KeyValue> = attributes.iter().filter(|a| !ignored(&a.key)).collect();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    for attribute in sorted {
        labels.append(&label_name(config, &attribute.key)?, ';', &text(attribute.value.as_ref()));
    }
    Ok(())
}
