//! The file of queries: a name and a query per line, separated by a tab. Empty lines and lines that begin with `#` are skipped.

use std::path::Path;

use crate::cli::QueryArgs;
use crate::error::Error;

/// A named query.
#[derive(Debug, PartialEq)]
pub(super) struct Query {
    pub(super) name: String,
    text: String,
}

/// Reads all queries; `path` is named in errors.
pub(super) fn parse(text: &str, path: &Path) -> Result<Vec<Query>, Error> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines
        .map(|(index, line)| {
            let Some((name, query)) = line.split_once('\t') else {
                return Err(Error::QueryLine { path: path.to_path_buf(), line: index + 1 });
            };
            Ok(Query { name: name.to_string(), text: query.to_string() })
        })
        .collect()
}

impl Query {
    fn is_instant(&self) -> bool {
        self.name.starts_with("instant")
    }

    /// The endpoint.
    pub(super) fn path(&self) -> &'static str {
        if self.is_instant() { "/api/v1/query" } else { "/api/v1/query_range" }
    }

    /// The parameters of a run that ends at `end`.
    pub(super) fn form(&self, end: i64, args: &QueryArgs) -> Vec<(&'static str, String)> {
        let mut form = vec![("query", self.text.clone())];
        if self.is_instant() {
            form.push(("time", end.to_string()));
        } else {
            form.push(("start", (end - args.range).to_string()));
            form.push(("end", end.to_string()));
            form.push(("step", args.step.to_string()));
        }
        if args.nocache {
            form.push(("nocache", "1".to_string()));
        }
        form
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> QueryArgs {
        QueryArgs {
            url: String::new(),
            file: "queries.tsv".into(),
            end: 1000,
            range: 600,
            step: 60,
            repeat: 1,
            warmup: 0,
            tenant: None,
            nocache: false,
            pid: Vec::new(),
            keep: None,
        }
    }

    fn only(text: &str) -> Query {
        parse(text, Path::new("queries.tsv")).unwrap().remove(0)
    }

    #[test]
    fn comments_and_empty_lines_are_skipped() {
        let queries =
            parse("# name<TAB>query\n\n  \nup\tup\nall\tcount({__name__=~\".+\"})\n", Path::new("q")).unwrap();
        let names: Vec<_> = queries.iter().map(|query| query.name.as_str()).collect();
        assert_eq!(names, ["up", "all"]);
    }

    #[test]
    fn a_line_without_a_tab_is_named_by_file_and_line() {
        let error = parse("# q\nup up\n", Path::new("queries.tsv")).unwrap_err();
        assert_eq!(error.to_string(), "queries.tsv:2: expected name<TAB>query");
    }

    #[test]
    fn a_query_may_contain_tabs() {
        assert_eq!(only("sum\tsum(\tup)").text, "sum(\tup)");
    }

    #[test]
    fn an_instant_query_has_a_time() {
        let query = only("instant_up\tup");
        assert_eq!(query.path(), "/api/v1/query");
        assert_eq!(query.form(1000, &args()), [("query", "up".to_string()), ("time", "1000".to_string())]);
    }

    #[test]
    fn a_range_query_has_a_range() {
        let query = only("up\tup");
        assert_eq!(query.path(), "/api/v1/query_range");
        let form = query.form(940, &QueryArgs { nocache: true, ..args() });
        let expected = [("query", "up"), ("start", "340"), ("end", "940"), ("step", "60"), ("nocache", "1")];
        assert_eq!(form, expected.map(|(name, value)| (name, value.to_string())));
    }
}
