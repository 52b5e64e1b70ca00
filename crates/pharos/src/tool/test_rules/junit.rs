//! The results of tests as JUnit XML, which build servers read.

use std::fmt::Write;

use pharos_model::{Clock, SystemClock};

use super::Case;

/// The results of all files.
#[derive(Default)]
pub(super) struct Report {
    suites: String,
}

impl Report {
    /// Adds the outcome of a file.
    pub(super) fn add(&mut self, file: &str, outcome: &Result<Vec<Case>, String>) {
        let cases = outcome.as_deref().unwrap_or_default();
        let failures: usize = cases.iter().map(|case| case.failures.len()).sum();
        let errors = usize::from(outcome.is_err());
        let tests = cases.len() + errors;
        let name = escaped(file);
        let now = jiff::Timestamp::from_millisecond(SystemClock::new().now_ms()).unwrap_or_default();
        let now = now.strftime("%Y-%m-%dT%H:%M:%S");
        // Writing to a string does not fail.
        let _ = write!(
            self.suites,
            "<testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"0\" timestamp=\"{}\">",
            now
        );
        for case in cases {
            let _ = write!(self.suites, "<testcase name=\"{}\">", escaped(&case.name));
            for failure in &case.failures {
                let _ = write!(self.suites, "<failure>{}</failure>", escaped(failure));
            }
            self.suites.push_str("</testcase>");
        }
        if let Err(reason) = outcome {
            let error = escaped(reason);
            let _ = write!(self.suites, "<testcase name=\"unknown\"><error>{error}</error></testcase>");
        }
        self.suites.push_str("</testsuite>");
    }

    /// The document.
    pub(super) fn xml(&self) -> String {
        format!("<testsuites>{}</testsuites>", self.suites)
    }
}

/// A text without characters that have a meaning in XML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\n' => out.push_str("&#xA;"),
            '\t' => out.push_str("&#x9;"),
            c if c.is_control() => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}
