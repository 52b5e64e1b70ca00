//! Operators between two samples, and between columns of floats.

use std::collections::BTreeSet;
use std::sync::Arc;

use pharos_histogram::{Combined, HistogramError};
use pharos_model::CounterReset;

use super::Shared;
use crate::arithmetic::{go_pow, scalar_op};
use crate::eval::Eval;
use crate::eval::hist_window::{collision, reconciled};
use crate::plan::Binary;
use crate::syntax::ast::BinaryOp;

/// One side of an operation.
#[derive(Clone, Copy)]
pub(super) enum Element<'a> {
    Float(f64),
    Hist(&'a Shared),
}

/// The result of an operation.
#[derive(Debug)]
pub(super) enum Value {
    Float(f64),
    Hist(Shared),
}

/// A reason for an annotation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Remark {
    /// The operator is undefined between these types.
    Types(&'static str, &'static str),
    Layout,
    Collision,
    Reconciled,
}

/// The annotations that the operations of one operator call for. Of each step, only the last remark counts.
#[derive(Default)]
pub(super) struct Outcomes {
    last: Vec<Option<Remark>>,
}

impl Outcomes {
    fn remark(&mut self, step: usize, remark: Remark) {
        if step >= self.last.len() {
            self.last.resize(step + 1, None);
        }
        self.last[step] = Some(remark);
    }

    /// Records that the operator is undefined between these types.
    pub(super) fn incompatible(&mut self, step: usize, l: &'static str, r: &'static str) {
        self.remark(step, Remark::Types(l, r));
    }

    /// Applies the operator at a step. Returns the result and whether a comparison holds, or `None` if there is no result.
    pub(super) fn apply(&mut self, op: BinaryOp, step: usize, l: Element<'_>, r: Element<'_>) -> Option<(Value, bool)> {
        use BinaryOp::{Add, Div, Eql, Mul, Neq, Sub, TrimLower, TrimUpper};
        let changed = |h: &Shared, change: &dyn Fn(&mut pharos_model::Histogram)| {
            let mut h = (**h).clone();
            change(&mut h);
            Some((Value::Hist(Arc::new(h)), true))
        };
        match (l, r, op) {
            (Element::Float(_), Element::Float(_), TrimLower | TrimUpper) => {}
            (Element::Float(l), Element::Float(r), op) if super::compares(op) => {
                return Some((Value::Float(l), comparison(op)(l, r)));
            }
            (Element::Float(l), Element::Float(r), op) => {
                return scalar_op(op, l, r).map(|v| (Value::Float(v), true));
            }
            (Element::Float(f), Element::Hist(h), Mul) | (Element::Hist(h), Element::Float(f), Mul) => {
                return changed(h, &|h| {
                    h.mul(f);
                    h.compact(0);
                });
            }
            (Element::Hist(h), Element::Float(f), Div) => {
                return changed(h, &|h| {
                    h.div(f);
                    h.compact(0);
                });
            }
            (Element::Hist(h), Element::Float(f), TrimUpper) => return changed(h, &|h| h.trim_upper(f)),
            (Element::Hist(h), Element::Float(f), TrimLower) => return changed(h, &|h| h.trim_lower(f)),
            (Element::Hist(l), Element::Hist(r), Add | Sub) => return self.combine(op, step, l, r),
            (Element::Hist(l), Element::Hist(r), Eql) => return Some((Value::Hist(l.clone()), l.same_as(r))),
            (Element::Hist(l), Element::Hist(r), Neq) => return Some((Value::Hist(l.clone()), !l.same_as(r))),
            _ => {}
        }
        self.incompatible(step, kind(l), kind(r));
        None
    }

    fn combine(&mut self, op: BinaryOp, step: usize, l: &Shared, r: &Shared) -> Option<(Value, bool)> {
        let mut result = (**l).clone();
        let combined: Result<Combined, HistogramError> =
            if op == BinaryOp::Add { result.add(r) } else { result.sub(r) };
        let Ok(combined) = combined else {
            self.remark(step, Remark::Layout);
            return None;
        };
        if op == BinaryOp::Sub {
            result.counter_reset = CounterReset::Gauge;
        }
        if combined.counter_reset_collision {
            // As in Prometheus, conflicting hints leave no result.
            self.remark(step, Remark::Collision);
            return None;
        }
        if combined.bounds_reconciled {
            self.remark(step, Remark::Reconciled);
        }
        result.compact(0);
        Some((Value::Hist(Arc::new(result)), true))
    }

    /// Adds the annotations to the query.
    pub(super) fn note(&self, ev: &Eval<'_, '_>, binary: &Binary) {
        let op = binary.op.as_str();
        let operation = if binary.op == BinaryOp::Add { "addition" } else { "subtraction" };
        let remarks: BTreeSet<Remark> = self.last.iter().flatten().copied().collect();
        ev.note(|n| {
            for remark in remarks {
                match remark {
                    Remark::Types(l, r) => {
                        let what = format!("{l} {op} {r}");
                        let text =
                            format!("incompatible sample types encountered for binary operator \"{op}\": {what}");
                        n.info(text, binary.pos);
                    }
                    Remark::Layout => {
                        n.warn(format!("incompatible bucket layout encountered for binary operator {op}"), binary.pos);
                    }
                    Remark::Collision => n.warn(collision(operation), binary.pos),
                    Remark::Reconciled => n.info(reconciled(operation), binary.pos),
                }
            }
        });
    }
}

fn kind(element: Element<'_>) -> &'static str {
    match element {
        Element::Float(_) => "float",
        Element::Hist(_) => "histogram",
    }
}

/// The predicate of a comparison operator.
pub(super) fn comparison(op: BinaryOp) -> fn(f64, f64) -> bool {
    match op {
        BinaryOp::Eql => |l, r| l == r,
        BinaryOp::Neq => |l, r| l != r,
        BinaryOp::Gtr => |l, r| l > r,
        BinaryOp::Lss => |l, r| l < r,
        BinaryOp::Gte => |l, r| l >= r,
        _ => |l, r| l <= r,
    }
}

/// Arithmetic between columns, in place. `values` is the left operand, or the right one if `swapped`.
pub(super) fn arithmetic(op: BinaryOp, values: &mut [f64], others: &[f64], swapped: bool) {
    fn each(values: &mut [f64], others: &[f64], swapped: bool, f: impl Fn(f64, f64) -> f64) {
        if swapped {
            values.iter_mut().zip(others).for_each(|(v, o)| *v = f(*o, *v));
        } else {
            values.iter_mut().zip(others).for_each(|(v, o)| *v = f(*v, *o));
        }
    }
    match op {
        BinaryOp::Add => each(values, others, swapped, |l, r| l + r),
        BinaryOp::Sub => each(values, others, swapped, |l, r| l - r),
        BinaryOp::Mul => each(values, others, swapped, |l, r| l * r),
        BinaryOp::Div => each(values, others, swapped, |l, r| l / r),
        BinaryOp::Mod => each(values, others, swapped, |l, r| l % r),
        BinaryOp::Pow => each(values, others, swapped, go_pow),
        BinaryOp::Atan2 => each(values, others, swapped, f64::atan2),
        _ => {}
    }
}
