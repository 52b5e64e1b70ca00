//! What a server says about the past, as a rule asks for it.

use std::collections::HashMap;

use pharos_promql::VectorSample;
use pharos_promql::syntax::ast::Expr;
use pharos_rules::file::RuleSpec;
use pharos_rules::{QueryFailure, RuleQueries};

use super::client::Client;

/// The results of a rule's expression over a range. Other queries, which templates have, are sent to the server.
pub(super) struct History<'c> {
    client: &'c Client,
    text: String,
    results: HashMap<i64, Vec<VectorSample>>,
}

impl<'c> History<'c> {
    /// Asks for the results at each step of a range, in milliseconds.
    pub(super) fn read(
        client: &'c Client,
        rule: &RuleSpec,
        (from_ms, to_ms): (i64, i64),
        step_ms: i64,
    ) -> Result<Self, String> {
        let mut results: HashMap<i64, Vec<VectorSample>> = HashMap::new();
        for sample in client.range(&rule.text, from_ms, to_ms, step_ms)? {
            results.entry(sample.t).or_default().push(sample);
        }
        Ok(History { client, text: rule.text.clone(), results })
    }
}

impl RuleQueries for History<'_> {
    fn query(&self, _: &Expr, text: &str, t_ms: i64, _: Option<i64>) -> Result<Vec<VectorSample>, QueryFailure> {
        match self.results.get(&t_ms) {
            Some(found) if text == self.text => Ok(found.clone()),
            None if text == self.text => Ok(Vec::new()),
            _ => self.client.instant(text, t_ms).map_err(QueryFailure::from),
        }
    }
}
