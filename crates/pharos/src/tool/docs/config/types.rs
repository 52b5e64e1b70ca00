//! Types of fields, in the words of people who write configurations.

/// The section that describes a type: overrides of limits are described as the limits themselves.
pub(super) fn described_as(name: &str) -> &str {
    match name {
        "TenantOverrides" => "TenantLimits",
        name => name,
    }
}

/// The anchor of a section's heading.
pub(super) fn anchor(name: &str) -> String {
    described_as(name).to_lowercase().replace(' ', "-")
}

/// The type in words; links to its section if `is_section` says that there is one.
pub(super) fn in_words(kind: &str, is_section: &dyn Fn(&str) -> bool) -> String {
    if let Some(inner) = argument(kind, "Option") {
        return in_words(inner, is_section);
    }
    if let Some(inner) = argument(kind, "Vec") {
        return format!("list of {}", in_words(inner, is_section));
    }
    if let Some(inner) = argument(kind, "BTreeMap") {
        return format!("map of {}", in_words(map_value(inner), is_section));
    }
    match last_segment(kind) {
        "bool" => "boolean".into(),
        "u32" | "u64" | "i64" | "usize" => "integer".into(),
        "f64" => "number".into(),
        "PromDuration" => "duration".into(),
        "ByteSize" => "size".into(),
        "PathBuf" => "path".into(),
        "Secret" => "secret".into(),
        "IgnoredAny" => "any".into(),
        name if is_section(described_as(name)) => format!("[{name}](#{})", anchor(name)),
        _ => "string".into(),
    }
}

/// The type inside lists, maps and options.
pub(super) fn innermost(kind: &str) -> &str {
    let inner = ["Option", "Vec"].iter().find_map(|outer| argument(kind, outer));
    match inner.or_else(|| argument(kind, "BTreeMap").map(map_value)) {
        Some(inner) => innermost(inner),
        None => last_segment(kind),
    }
}

/// `[]` for a list, `.<name>` for a map.
pub(super) fn path_suffix(kind: &str) -> &'static str {
    match argument(kind, "Option").unwrap_or(kind) {
        kind if argument(kind, "Vec").is_some() => "[]",
        kind if argument(kind, "BTreeMap").is_some() => ".<name>",
        _ => "",
    }
}

/// `T` of `Outer<T>`, whatever the path of `Outer`.
fn argument<'a>(kind: &'a str, outer: &str) -> Option<&'a str> {
    let (name, rest) = kind.trim().split_once('<')?;
    (last_segment(name) == outer).then(|| rest.strip_suffix('>')).flatten()
}

fn map_value(arguments: &str) -> &str {
    arguments.split_once(',').map_or("", |(_, value)| value.trim())
}

fn last_segment(path: &str) -> &str {
    path.trim().rsplit("::").next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(kind: &str) -> String {
        in_words(kind, &|name| name == "TlsConfig" || name == "TenantLimits")
    }

    #[test]
    fn containers_are_spelled_out() {
        assert_eq!(words("Option<bool>"), "boolean");
        assert_eq!(words("Vec<Option<u64>>"), "list of integer");
        assert_eq!(words("std::collections::BTreeMap<String, Vec<String>>"), "map of list of string");
    }

    #[test]
    fn sections_are_links() {
        assert_eq!(words("Option<$crate::config::TlsConfig>"), "[TlsConfig](#tlsconfig)");
        assert_eq!(words("BTreeMap<String, TenantOverrides>"), "map of [TenantOverrides](#tenantlimits)");
    }

    #[test]
    fn unknown_types_are_strings() {
        assert_eq!(words("ScrapeProtocol"), "string");
    }

    #[test]
    fn the_innermost_type_is_found() {
        assert_eq!(innermost("Vec<Option<crate::RelabelConfig>>"), "RelabelConfig");
        assert_eq!(innermost("BTreeMap<String, HeaderValues>"), "HeaderValues");
        assert_eq!(innermost("bool"), "bool");
    }

    #[test]
    fn paths_show_lists_and_maps() {
        assert_eq!(path_suffix("Vec<ScrapeConfig>"), "[]");
        assert_eq!(path_suffix("Option<BTreeMap<String, HeaderValues>>"), ".<name>");
        assert_eq!(path_suffix("GlobalConfig"), "");
    }
}
