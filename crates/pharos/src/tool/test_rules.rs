//! `pharos tool test rules`: unit tests of rules, with promtool's file format, output and exit codes.

mod file;
mod junit;
mod run;
mod show;
mod store;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::config::find_files;
use file::TestFile;
use run::Context;

/// The options of the command.
pub struct TestRulesOptions {
    /// Run only test groups whose names match.
    pub run: Option<Regex>,
    /// Ignore unknown fields in rule files.
    pub ignore_unknown_fields: bool,
    /// Where results are written as JUnit XML.
    pub junit: Option<PathBuf>,
    /// Print how alerts differ from what is expected, rather than both.
    pub diff: bool,
    /// Print which test runs, and all samples at its end.
    pub debug: bool,
}

/// The outcome of one test group.
struct Case {
    name: String,
    failures: Vec<String>,
    /// What to print for debugging.
    debug: Vec<String>,
}

/// Runs the tests of all files and writes progress to `out` and failures to `errors`. `Ok(false)` means that a test failed.
pub fn test_rules(
    files: &[PathBuf],
    options: &TestRulesOptions,
    out: &mut dyn Write,
    errors: &mut dyn Write,
) -> io::Result<bool> {
    let mut all_good = true;
    let mut report = junit::Report::default();
    for path in files {
        writeln!(out, "Processing test file: {}", path.display())?;
        let mut warnings = Vec::new();
        let tested = test_file(path, options, &mut warnings);
        for warning in &warnings {
            writeln!(errors, "  WARNING: {warning}")?;
        }
        report.add(&path.display().to_string(), &tested);
        let failures = match tested {
            Ok(cases) => {
                for line in cases.iter().flat_map(|case| &case.debug) {
                    writeln!(errors, "{line}")?;
                }
                cases.into_iter().flat_map(|case| case.failures).collect()
            }
            Err(reason) => vec![reason],
        };
        if failures.is_empty() {
            writeln!(out, "  SUCCESS")?;
        } else {
            all_good = false;
            writeln!(errors, "  FAILED:")?;
            for failure in &failures {
                writeln!(errors, "{failure}")?;
                writeln!(out)?;
            }
        }
        writeln!(out)?;
    }
    if let Some(file) = &options.junit {
        std::fs::write(file, report.xml())?;
    }
    Ok(all_good)
}

/// The outcomes of the test groups of one file, or why it cannot be run.
fn test_file(path: &Path, options: &TestRulesOptions, warnings: &mut Vec<String>) -> Result<Vec<Case>, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return Err(format!("open {}: {error}", path.display())),
    };
    let file = TestFile::parse(&text)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut rule_files = Vec::new();
    for pattern in &file.rule_files {
        match find_files(folder, pattern) {
            Ok(found) if found.is_empty() => {
                warnings.push(format!("no file match pattern {}", folder.join(pattern).display()));
            }
            Ok(found) => rule_files.extend(found),
            Err(error) => return Err(format!("{}: {error}", folder.join(pattern).display())),
        }
    }
    let mut order = std::collections::BTreeMap::new();
    for (at, name) in file.group_eval_order.iter().enumerate() {
        if order.insert(name.as_str(), at).is_some() {
            return Err(format!("group name repeated in evaluation order: {name}"));
        }
    }
    let context = Context {
        eval_interval_ms: file.eval_interval_ms(),
        order: &order,
        rule_files: &rule_files,
        fuzzy: file.fuzzy_compare,
        ignore_unknown_fields: options.ignore_unknown_fields,
        diff: options.diff,
        debug: options.debug,
    };
    let wanted = |name: &str| options.run.as_ref().is_none_or(|run| run.is_match(name));
    let tests = file.tests.iter().enumerate().filter(|(_, test)| wanted(&test.name));
    let case = |(at, test): (usize, &file::TestGroup)| {
        let name = if test.name.is_empty() { format!("unnamed#{at}") } else { test.name.clone() };
        let mut debug = Vec::new();
        let failures = run::run(test, &name, &context, &mut debug);
        Case { name, failures, debug }
    };
    Ok(tests.map(case).collect())
}

#[cfg(test)]
mod tests;
