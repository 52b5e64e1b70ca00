//! The height of a syntax tree, which decides how much stack its evaluation takes.

use super::ast::Expr;

/// The number of nodes on the longest path from the root to a leaf.
pub(crate) fn height(expr: &Expr) -> usize {
    1 + match expr {
        Expr::Aggregate(a) => height(&a.expr).max(a.param.as_ref().map_or(0, height)),
        Expr::Binary(b) => height(&b.lhs).max(height(&b.rhs)),
        Expr::Call(call) => call.args.iter().map(height).max().unwrap_or(0),
        Expr::Subquery(s) => height(&s.expr),
        Expr::Paren(p) => height(&p.expr),
        Expr::Unary(u) => height(&u.expr),
        Expr::Duration(d) => [&d.lhs, &d.rhs].into_iter().flatten().map(|e| height(e)).max().unwrap_or(0),
        Expr::Matrix(_) | Expr::Number(_) | Expr::String(_) | Expr::Vector(_) => 0,
    }
}
