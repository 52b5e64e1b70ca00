//! Walking over a syntax tree.

use super::ast::{Expr, VectorSelector};

impl Expr {
    /// Calls `visit` for each selector of the expression, in the order of the text.
    pub fn for_each_selector<'e>(&'e self, visit: &mut dyn FnMut(&'e VectorSelector)) {
        match self {
            Expr::Aggregate(e) => {
                e.param.iter().for_each(|param| param.for_each_selector(visit));
                e.expr.for_each_selector(visit);
            }
            Expr::Binary(e) => {
                e.lhs.for_each_selector(visit);
                e.rhs.for_each_selector(visit);
            }
            Expr::Call(e) => e.args.iter().for_each(|arg| arg.for_each_selector(visit)),
            Expr::Matrix(e) => visit(&e.selector),
            Expr::Subquery(e) => e.expr.for_each_selector(visit),
            Expr::Paren(e) => e.expr.for_each_selector(visit),
            Expr::Unary(e) => e.expr.for_each_selector(visit),
            Expr::Vector(e) => visit(e),
            Expr::Number(_) | Expr::String(_) | Expr::Duration(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_selector_is_visited_once_in_order() {
        let text = "sum(a) / on (x) count(rate(b[5m])) + -(topk(scalar(c), d)) > max_over_time(e[1h:5m])";
        let expr = crate::syntax::parse(text).unwrap();
        let mut names = Vec::new();
        expr.for_each_selector(&mut |selector| names.push(selector.name.as_str()));
        assert_eq!(names, ["a", "b", "c", "d", "e"]);
    }
}
