//! Prints expressions in canonical form on one line, as Prometheus's `parse_query` endpoint does.

use std::fmt::{self, Display, Formatter, Write};

use pharos_gocompat::GoQuoted;
use pharos_model::labels::is_legacy_label_name;

use super::ast::{
    Aggregate, AtPreprocessor, Binary, BinaryOp, Call, Cardinality, DurationExpr, DurationOp, Expr, MatrixSelector,
    NumberLiteral, StringLiteral, Subquery, TimeModifiers, VectorMatching, VectorSelector,
};
use super::check::repeats_name;
use super::number::milliseconds;
use pharos_gocompat::format_duration;
use pharos_gocompat::strconv::quote_bytes;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Aggregate(e) => e.fmt(f),
            Expr::Binary(e) => e.fmt(f),
            Expr::Call(e) => e.fmt(f),
            Expr::Matrix(e) => e.fmt(f),
            Expr::Subquery(e) => e.fmt(f),
            Expr::Number(e) => e.fmt(f),
            Expr::String(e) => e.fmt(f),
            Expr::Paren(e) => write!(f, "({})", e.expr),
            Expr::Unary(e) => write!(f, "{}{}", if e.minus { '-' } else { '+' }, e.expr),
            Expr::Vector(e) => e.fmt(f),
            Expr::Duration(e) => e.fmt(f),
        }
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", AggregateHead(self))?;
        if let Some(param) = &self.param {
            write!(f, "{param}, ")?;
        }
        write!(f, "{})", self.expr)
    }
}

/// Displays an aggregation up to its opening parenthesis: the operator and the grouping clause.
pub(super) struct AggregateHead<'a>(pub(super) &'a Aggregate);

impl Display for AggregateHead<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Aggregate { op, grouping, without, .. } = self.0;
        f.write_str(op.as_str())?;
        if *without {
            write!(f, " without ({}) ", LabelList(grouping))
        } else if !grouping.is_empty() {
            write!(f, " by ({}) ", LabelList(grouping))
        } else {
            Ok(())
        }
    }
}

struct LabelList<'a>(&'a [String]);

impl Display for LabelList<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, label) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            if is_legacy_label_name(label) { f.write_str(label)? } else { GoQuoted(label).fmt(f)? }
        }
        Ok(())
    }
}

impl Display for Binary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match unsigned_base(self) {
            Some(base) => f.write_str(base)?,
            None => self.lhs.fmt(f)?,
        }
        write!(f, " {} {}", Operator(self), self.rhs)
    }
}

/// Returns the text of an infinite base of a power. A sign would change the meaning: `+Inf ^ x` parses as
/// `+(Inf ^ x)`. Prometheus prints the sign nevertheless.
pub(super) fn unsigned_base(binary: &Binary) -> Option<&'static str> {
    let infinite = matches!(&binary.lhs, Expr::Number(number) if number.value == f64::INFINITY);
    (binary.op == BinaryOp::Pow && infinite).then_some("Inf")
}

/// Displays a binary operator with `bool` and its matching clauses.
pub(super) struct Operator<'a>(pub(super) &'a Binary);

impl Display for Operator<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.op.as_str())?;
        if self.0.return_bool {
            f.write_str(" bool")?;
        }
        self.0.matching.as_ref().map_or(Ok(()), |matching| matching.fmt(f))
    }
}

/// Every clause starts with a space, so that an empty matching prints nothing.
impl Display for VectorMatching {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let group = match self.card {
            Cardinality::ManyToOne => Some("group_left"),
            Cardinality::OneToMany => Some("group_right"),
            Cardinality::OneToOne | Cardinality::ManyToMany => None,
        };
        if !self.labels.is_empty() || self.on || group.is_some() {
            write!(f, " {} ({})", if self.on { "on" } else { "ignoring" }, LabelList(&self.labels))?;
        }
        if let Some(group) = group {
            write!(f, " {group} ({})", LabelList(&self.include))?;
        }
        match (self.fill_left, self.fill_right) {
            (Some(left), Some(right)) if left == right => write!(f, " fill ({})", GoFloat(left)),
            (left, right) => {
                for (clause, value) in [("fill_left", left), ("fill_right", right)] {
                    if let Some(value) = value {
                        write!(f, " {clause} ({})", GoFloat(value))?;
                    }
                }
                Ok(())
            }
        }
    }
}

/// Displays a number like Go's `%v`: very large and very small numbers have an exponent.
struct GoFloat(f64);

impl Display for GoFloat {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        if size == 0.0 || !size.is_finite() || (1e-4..1e21).contains(&size) {
            return write_decimal(f, self.0);
        }
        let text = format!("{:e}", self.0);
        let Some((digits, exponent)) = text.split_once('e') else { return f.write_str(&text) };
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        write!(f, "{digits}e{sign}{exponent:0>2}")
    }
}

/// Writes the shortest decimal digits that parse back to the same number, without an exponent.
fn write_decimal(f: &mut Formatter<'_>, value: f64) -> fmt::Result {
    if value.is_infinite() {
        return f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    }
    write!(f, "{value}")
}

impl Display for Call {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}(", self.func.name())?;
        for (index, arg) in self.args.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            arg.fmt(f)?;
        }
        f.write_char(')')
    }
}

/// Displays the duration expression if there is one, and the milliseconds otherwise.
struct Span<'a>(i64, &'a Option<DurationExpr>);

impl Display for Span<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(expr) => expr.fmt(f),
            None => f.write_str(&format_duration(self.0)),
        }
    }
}

impl Display for MatrixSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_series(f, &self.selector)?;
        write!(f, "[{}]", Span(self.range, &self.range_expr))?;
        write_extension(f, &self.selector)?;
        write_at(f, &self.selector.time)?;
        write_offset(f, &self.selector.time)
    }
}

impl Display for VectorSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_series(f, self)?;
        write_at(f, &self.time)?;
        write_extension(f, self)?;
        write_offset(f, &self.time)
    }
}

/// Writes the metric name and the matchers, sorted by their text.
fn write_series(f: &mut Formatter<'_>, selector: &VectorSelector) -> fmt::Result {
    f.write_str(&selector.name)?;
    let shown = selector.matchers.iter().filter(|matcher| !repeats_name(matcher, &selector.name));
    let mut matchers: Vec<String> = shown.map(ToString::to_string).collect();
    matchers.sort_unstable();
    if matchers.is_empty() { Ok(()) } else { write!(f, "{{{}}}", matchers.join(",")) }
}

fn write_extension(f: &mut Formatter<'_>, selector: &VectorSelector) -> fmt::Result {
    match (selector.anchored, selector.smoothed) {
        (true, _) => f.write_str(" anchored"),
        (_, true) => f.write_str(" smoothed"),
        _ => Ok(()),
    }
}

fn write_at(f: &mut Formatter<'_>, time: &TimeModifiers) -> fmt::Result {
    match (time.at, time.at_preprocessor) {
        (Some(ms), _) => write!(f, " @ {:.3}", ms as f64 / 1000.0),
        (None, Some(AtPreprocessor::Start)) => f.write_str(" @ start()"),
        (None, Some(AtPreprocessor::End)) => f.write_str(" @ end()"),
        (None, None) => Ok(()),
    }
}

fn write_offset(f: &mut Formatter<'_>, time: &TimeModifiers) -> fmt::Result {
    if time.offset == 0 && time.offset_expr.is_none() {
        return Ok(());
    }
    write!(f, " offset {}", Span(time.offset, &time.offset_expr))
}

impl Display for Subquery {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.expr, SubquerySuffix(self))
    }
}

/// Displays the part of a subquery that follows its expression: the brackets and the modifiers.
pub(super) struct SubquerySuffix<'a>(pub(super) &'a Subquery);

impl Display for SubquerySuffix<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Subquery { range, range_expr, step, step_expr, time, .. } = self.0;
        write!(f, "[{}:", Span(*range, range_expr))?;
        if *step != 0 || step_expr.is_some() {
            Span(*step, step_expr).fmt(f)?;
        }
        f.write_char(']')?;
        write_at(f, time)?;
        write_offset(f, time)
    }
}

impl Display for NumberLiteral {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.duration {
            // A printed query must keep its meaning, so this rounds. Prometheus truncates and prints 4706ms as 4s705ms.
            return f.write_str(&format_duration(milliseconds(self.value)));
        }
        write_decimal(f, self.value)
    }
}

impl Display for StringLiteral {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.bytes {
            Some(bytes) => f.write_str(&quote_bytes(bytes)),
            None => GoQuoted(&self.value).fmt(f),
        }
    }
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.wrapped {
            f.write_char('(')?;
        }
        let op = self.op.as_str();
        match (self.op, &self.lhs, &self.rhs) {
            (DurationOp::Min | DurationOp::Max, Some(lhs), Some(rhs)) => write!(f, "{op}({lhs}, {rhs})")?,
            (_, Some(lhs), Some(rhs)) => write!(f, "{lhs} {op} {rhs}")?,
            (DurationOp::Add, None, Some(rhs)) => rhs.fmt(f)?,
            (_, None, Some(rhs)) => write!(f, "{op}{rhs}")?,
            _ => write!(f, "{op}()")?,
        }
        if self.wrapped { f.write_char(')') } else { Ok(()) }
    }
}
