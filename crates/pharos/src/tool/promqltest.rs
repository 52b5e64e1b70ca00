//! `pharos tool promqltest`: runs PromQL test scripts.

use std::io::{self, Write};
use std::path::PathBuf;

use pharos_promql::promqltest::run_script;
use pharos_promql::{Engine, EngineOptions};

/// Runs each script and writes successes to `out` and failures to `errors`. `Ok(false)` means that an evaluation failed.
pub fn promqltest(files: &[PathBuf], out: &mut dyn Write, errors: &mut dyn Write) -> io::Result<bool> {
    let engine = Engine::new(EngineOptions::default());
    let mut all_good = true;
    for path in files {
        let name = path.display().to_string();
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                all_good = false;
                writeln!(errors, "  FAILED:\n{name}: {error}\n")?;
                continue;
            }
        };
        let report = run_script(&name, &text, &engine);
        if report.failed.is_empty() {
            writeln!(out, "  SUCCESS: {name}: {} evaluations\n", report.passed)?;
            continue;
        }
        all_good = false;
        writeln!(errors, "  FAILED:")?;
        for failure in &report.failed {
            writeln!(errors, "{name}:{}: {}", failure.line, failure.message)?;
        }
        writeln!(errors, "{name}: {} of {} failed\n", report.failed.len(), report.failed.len() + report.passed)?;
    }
    Ok(all_good)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passing_failing_and_missing_scripts_are_reported() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let good = file("good.test", "load 1m\n  up 1 2\n\neval instant at 1m up\n  up 2\n");
        let bad = file("bad.test", "load 1m\n  up 1 2\n\neval instant at 1m up\n  up 3\n");
        let run = |files: &[PathBuf]| {
            let (mut out, mut errors) = (Vec::new(), Vec::new());
            let all_good = promqltest(files, &mut out, &mut errors).unwrap();
            let plain = |bytes| String::from_utf8(bytes).unwrap().replace(&format!("{}/", folder.path().display()), "");
            (all_good, plain(out), plain(errors))
        };
        let (all_good, out, errors) = run(std::slice::from_ref(&good));
        assert_eq!((all_good, out.as_str(), errors.as_str()), (true, "  SUCCESS: good.test: 1 evaluations\n\n", ""));
        let (all_good, _, errors) = run(&[bad, good, folder.path().join("missing.test")]);
        assert!(!all_good);
        assert!(errors.contains("bad.test:4: expected 3 for {__name__=\"up\"}, got 2\n"), "{errors}");
        assert!(errors.contains("bad.test: 1 of 1 failed\n") && errors.contains("missing.test: "), "{errors}");
    }
}
