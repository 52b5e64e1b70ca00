//! The text format.

use std::fmt::Write;

use crate::fleet::Series;

/// Labels that the scraping server adds itself.
const TARGET_LABELS: [&str; 3] = ["__name__", "instance", "job"];

/// The page of a host at a step. `up` is missing, because the scraping server writes it itself.
pub(super) fn exposition(series: &[Series], step: u64) -> String {
    let mut page = String::with_capacity(64 << 10);
    for series in series.iter().filter(|series| series.label("__name__") != "up") {
        page.push_str(series.label("__name__"));
        page.push('{');
        for (name, value) in series.labels.iter().filter(|(name, _)| !TARGET_LABELS.contains(&name.as_str())) {
            // Writing to a string never fails. No value of the fleet needs escaping.
            let _ = write!(page, "{name}=\"{value}\",");
        }
        let _ = writeln!(page, "}} {}", series.value(step));
    }
    page
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::fleet;

    #[test]
    fn a_line_has_labels_and_the_value_of_the_step() {
        let host = fleet::host(0);
        let series = host.iter().find(|series| series.label("__name__") == "node_load1").unwrap();
        let page = exposition(std::slice::from_ref(series), 7);
        assert_eq!(page, format!("node_load1{{cluster=\"prod-0\",zone=\"zone-a\",}} {}\n", series.value(7)));
    }

    #[test]
    fn up_is_left_to_the_scraping_server() {
        let page = exposition(&fleet::host(0), 0);
        assert!(!page.lines().any(|line| line.starts_with("up{")));
    }

    #[test]
    fn lines_differ_although_instance_and_job_are_missing() {
        let host = fleet::host(1);
        let page = exposition(&host, 3);
        let series: BTreeSet<_> = page.lines().map(|line| line.rsplit_once(' ').unwrap().0).collect();
        assert_eq!(series.len(), host.len() - 2, "all but the two `up`");
    }

    #[test]
    fn no_value_needs_escaping() {
        for series in fleet::host(2) {
            assert!(series.labels.iter().all(|(_, value)| !value.contains(['"', '\\', '\n'])), "{:?}", series.labels);
        }
    }
}
