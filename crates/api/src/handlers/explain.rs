//! Writes query plans as JSON: `{"operator":…,"details":{…},"pushed":{…},"actual":{…},"children":[…]}`, and where time went
//! besides the operators: `{"proofSeconds":…,"planningSeconds":…,"mergeSeconds":…,"nodes":[…]}`.

use std::time::Duration;

use pharos_promql::PlanNode;
use pharos_querier::QueryTiming;

use crate::json;

/// A piece of the output that remains to be written.
enum Part<'a> {
    Node(&'a PlanNode),
    Text(&'static str),
}

/// Appends a plan. Plans can be deep, so this does not recurse.
pub(super) fn plan(out: &mut Vec<u8>, root: &PlanNode) {
    let mut open = vec![Part::Node(root)];
    while let Some(part) = open.pop() {
        match part {
            Part::Text(text) => out.extend_from_slice(text.as_bytes()),
            Part::Node(node) => {
                head(out, node);
                open.push(Part::Text("]}"));
                for (at, child) in node.children.iter().enumerate().rev() {
                    open.push(Part::Node(child));
                    if at > 0 {
                        open.push(Part::Text(","));
                    }
                }
            }
        }
    }
}

/// Appends an operator's fields up to its first child.
fn head(out: &mut Vec<u8>, node: &PlanNode) {
    out.extend_from_slice(b"{\"operator\":");
    json::string(out, node.operator);
    for (key, pairs) in [("details", &node.details), ("pushed", &node.pushed)] {
        if pairs.is_empty() {
            continue;
        }
        out.extend_from_slice(format!(",\"{key}\":{{").as_bytes());
        for (at, (name, value)) in pairs.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            json::string(out, name);
            out.push(b':');
            json::string(out, value);
        }
        out.push(b'}');
    }
    if let Some(actual) = &node.actual {
        let figures = serde_json::json!({
            "series": actual.series,
            "samples": actual.samples,
            "samplesRead": actual.samples_read,
            "seconds": actual.wall.as_secs_f64(),
            "peakBytes": actual.peak_bytes,
            "bytesRead": actual.bytes_read,
            "requests": actual.requests,
        });
        out.extend_from_slice(format!(",\"actual\":{figures}").as_bytes());
    }
    out.extend_from_slice(b",\"children\":[");
}

/// Where the time of a query went besides its operators, in seconds. `preparation` is what the engine spent on planning.
pub(super) fn timing(timing: &QueryTiming, preparation: Duration) -> serde_json::Value {
    let nodes = timing.nodes.iter().map(|node| {
        serde_json::json!({
            "node": node.node,
            "role": node.role,
            "requests": node.requests,
            "unusedRequests": node.unused,
            "waitSeconds": node.waiting.as_secs_f64(),
            "longestWaitSeconds": node.longest.as_secs_f64(),
            "bytes": node.bytes,
        })
    });
    serde_json::json!({
        "proofSeconds": timing.proving.as_secs_f64(),
        "planningSeconds": (timing.planning + preparation).as_secs_f64(),
        "mergeSeconds": timing.merging.as_secs_f64(),
        "nodes": nodes.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use pharos_promql::{Engine, EngineOptions, syntax};

    use super::*;

    #[test]
    fn plans_of_any_depth_are_json() {
        let shown = |text: &str| -> String {
            let engine = Engine::new(EngineOptions::default());
            let explained = engine.explain(&syntax::parse(text).unwrap(), (0, 60_000, 15_000)).unwrap();
            let mut out = Vec::new();
            plan(&mut out, &explained.physical);
            String::from_utf8(out).unwrap()
        };
        let tree: serde_json::Value = serde_json::from_str(&shown("sum by (job) (rate(up[5m]))")).unwrap();
        assert_eq!(tree["operator"], "aggregate");
        assert_eq!(tree["details"]["by"], "job");
        assert_eq!(tree["children"][0]["operator"], "range function");
        let high = vec!["a"; 900].join(" + ");
        assert_eq!(shown(&high).matches("\"operator\"").count(), 1799);
    }
}
