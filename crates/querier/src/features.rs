//! The parts of PromQL that are experimental in Prometheus. They are enabled unless a tenant's limits disable them.

use pharos_promql::syntax::ast::{AggregateOp, Expr, Pos, TimeModifiers, VectorSelector};

/// The error of a query that uses a feature that is disabled for its tenant. The message is Prometheus's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: parse error: {reason}")]
pub struct FeatureDisabled {
    /// Line of the expression in the query, counted from 1.
    pub line: usize,
    /// Column of the expression in its line, in bytes, counted from 1.
    pub column: usize,
    /// Message that names the disabled feature.
    pub reason: String,
}

/// The experimental parts of the language that a tenant may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryFeatures {
    /// Experimental functions and aggregations (`promql-experimental-functions`).
    pub functions: bool,
    /// The modifiers `anchored` and `smoothed` (`promql-extended-range-selectors`).
    pub extended_selectors: bool,
    /// The modifiers `fill`, `fill_left` and `fill_right` (`promql-binop-fill-modifiers`).
    pub fill_modifiers: bool,
    /// Arithmetic in ranges and offsets (`promql-duration-expr`).
    pub duration_expressions: bool,
}

impl Default for QueryFeatures {
    fn default() -> Self {
        QueryFeatures { functions: true, extended_selectors: true, fill_modifiers: true, duration_expressions: true }
    }
}

impl QueryFeatures {
    /// The names of the features, as Prometheus's `--enable-feature` accepts them.
    pub const NAMES: [&'static str; 4] = [
        "promql-experimental-functions",
        "promql-extended-range-selectors",
        "promql-binop-fill-modifiers",
        "promql-duration-expr",
    ];

    /// Disables a feature. Returns `false` if the name is unknown.
    pub fn disable(&mut self, name: &str) -> bool {
        let switches = [
            &mut self.functions,
            &mut self.extended_selectors,
            &mut self.fill_modifiers,
            &mut self.duration_expressions,
        ];
        match Self::NAMES.iter().position(|known| *known == name) {
            Some(at) => {
                *switches[at] = false;
                true
            }
            None => false,
        }
    }

    /// Checks that an expression uses no disabled feature. `text` is the source of `expr` and locates the error.
    ///
    /// # Errors
    /// A subexpression uses a disabled feature.
    pub fn check(&self, expr: &Expr, text: &str) -> Result<(), FeatureDisabled> {
        if *self == QueryFeatures::default() {
            return Ok(());
        }
        let mut open = vec![expr];
        while let Some(expr) = open.pop() {
            if let Some((pos, reason)) = self.refusal(expr) {
                let (line, column) = line_and_column(text, pos.start);
                return Err(FeatureDisabled { line, column, reason });
            }
            match expr {
                Expr::Aggregate(e) => open.extend(e.param.iter().chain([&e.expr])),
                Expr::Binary(e) => open.extend([&e.lhs, &e.rhs]),
                Expr::Call(e) => open.extend(&e.args),
                Expr::Subquery(e) => open.push(&e.expr),
                Expr::Paren(e) => open.push(&e.expr),
                Expr::Unary(e) => open.push(&e.expr),
                Expr::Matrix(_) | Expr::Vector(_) | Expr::Number(_) | Expr::String(_) | Expr::Duration(_) => {}
            }
        }
        Ok(())
    }

    fn refusal(&self, expr: &Expr) -> Option<(Pos, String)> {
        match expr {
            Expr::Call(e) if e.func.is_experimental() && !self.functions => {
                Some((e.pos, format!("function \"{}\" is not enabled", e.func.name())))
            }
            Expr::Aggregate(e) if matches!(e.op, AggregateOp::Limitk | AggregateOp::LimitRatio) && !self.functions => {
                let name = e.op.as_str();
                let flag = "--enable-feature=promql-experimental-functions";
                Some((e.pos, format!("{name}() is experimental and must be enabled with {flag}")))
            }
            Expr::Binary(e) if !self.fill_modifiers => {
                let matching = e.matching.as_ref()?;
                let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
                fills.then(|| (e.pos, "binop fill modifiers are experimental and not enabled".into()))
            }
            Expr::Vector(selector) => self.selector(selector, false),
            Expr::Matrix(e) => self.selector(&e.selector, e.range_expr.is_some()),
            Expr::Subquery(e) => {
                let computed = e.range_expr.is_some() || e.step_expr.is_some() || is_computed(&e.time);
                self.duration(computed, e.pos)
            }
            _ => None,
        }
    }

    fn selector(&self, selector: &VectorSelector, computed_range: bool) -> Option<(Pos, String)> {
        let modifier = match selector {
            VectorSelector { anchored: true, .. } => Some("anchored"),
            VectorSelector { smoothed: true, .. } => Some("smoothed"),
            _ => None,
        };
        match modifier.filter(|_| !self.extended_selectors) {
            Some(name) => Some((selector.pos, format!("{name} modifier is experimental and not enabled"))),
            None => self.duration(computed_range || is_computed(&selector.time), selector.pos),
        }
    }

    fn duration(&self, computed: bool, pos: Pos) -> Option<(Pos, String)> {
        let refused = computed && !self.duration_expressions;
        refused.then(|| (pos, "experimental duration expression is not enabled".into()))
    }
}

fn is_computed(time: &TimeModifiers) -> bool {
    time.offset_expr.is_some()
}

/// Returns the line and the column, in bytes, of the offset `at`. Both count from 1.
fn line_and_column(text: &str, at: usize) -> (usize, usize) {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use pharos_promql::syntax::parse;

    use super::*;

    #[test]
    fn each_feature_can_be_disabled() {
        for (feature, text, place) in [
            (QueryFeatures::NAMES[0], "sum(mad_over_time(up[5m]))", "1:5: "),
            (QueryFeatures::NAMES[0], "limitk(1, up)", "1:1: "),
            (QueryFeatures::NAMES[1], "up +\nrate(up[5m] smoothed)", "2:6: "),
            (QueryFeatures::NAMES[2], "a + fill(0) b", "1:1: "),
            (QueryFeatures::NAMES[3], "rate(up[5m + 1m])", "1:6: "),
        ] {
            let expr = parse(text).unwrap();
            assert!(QueryFeatures::default().check(&expr, text).is_ok());
            let mut features = QueryFeatures::default();
            assert!(features.disable(feature));
            let error = features.check(&expr, text).unwrap_err();
            assert!(error.to_string().starts_with(&format!("{place}parse error: ")), "{error}");
            assert!(features.check(&parse("sum(rate(up[5m]))").unwrap(), "").is_ok());
        }
        assert!(!QueryFeatures::default().disable("promql-time-travel"));
    }
}
