//! `openapi.yaml`: the description of the API for clients and tools.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

const DESCRIPTION: &str = include_str!("../openapi.yaml");

/// Handles `GET /api/v1/openapi.yaml`.
pub(super) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/yaml; charset=utf-8")], DESCRIPTION).into_response()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const METHODS: [&str; 5] = ["get", "post", "put", "delete", "head"];
    /// What other crates answer, and what routes with variables for a prefix answer.
    const ELSEWHERE: [&str; 3] = ["/api/v1/write", "/api/v1/otlp/", "/config/v1/rules"];

    /// Paths with a method that are described.
    fn described() -> BTreeSet<(String, &'static str)> {
        let (mut path, mut found) = ("", BTreeSet::new());
        let paths = DESCRIPTION.lines().skip_while(|line| *line != "paths:").take_while(|line| *line != "components:");
        for line in paths {
            let name = line.trim().trim_end_matches(':');
            if line.starts_with("  /") {
                path = name;
            }
            let method = METHODS.into_iter().find(|method| *method == name && line.starts_with("    "));
            found.extend(method.map(|method| (path.to_string(), method)));
        }
        found
    }

    /// Paths with a method that have a route, as the source of the router says.
    fn routed() -> BTreeSet<(String, &'static str)> {
        let mut found = BTreeSet::new();
        for line in include_str!("../handlers.rs").lines().filter_map(|line| line.trim().strip_prefix(".route(\"")) {
            let (path, handlers) = line.split_once('"').unwrap();
            let is_below_root = ["/federate", "/metrics", "/version", "/-/"].iter().any(|own| path.starts_with(own));
            let path = if is_below_root { path.to_string() } else { format!("/api/v1{path}") };
            let handles = |method: &&str| handlers.contains(&format!("{method}("));
            found.extend(METHODS.into_iter().filter(handles).map(|method| (path.clone(), method)));
        }
        found
    }

    #[test]
    fn every_route_is_described() {
        let mut described = described();
        described.retain(|(path, _)| !ELSEWHERE.iter().any(|prefix| path.starts_with(prefix)));
        // Deleting series by `DELETE` is answered with a hint only.
        let routed: BTreeSet<_> =
            routed().into_iter().filter(|(path, m)| (path.as_str(), *m) != ("/api/v1/series", "delete")).collect();
        assert_eq!(described, routed);
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let references = DESCRIPTION.split("'#/components/").skip(1).map(|rest| rest.split('\'').next().unwrap());
        let references: BTreeSet<&str> = references.collect();
        assert!(references.len() > 40);
        for reference in references {
            let (kind, name) = reference.split_once('/').unwrap();
            let components = DESCRIPTION.split_once(&format!("\n  {kind}:\n")).unwrap().1;
            assert!(components.contains(&format!("    {name}:\n")), "{reference}");
        }
    }
}
