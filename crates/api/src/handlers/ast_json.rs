//! Converts the syntax tree to JSON, as `/api/v1/parse_query` returns it for tree views.
//!
//! Only leaves use `json!`, because it copies its values: at every level of a tree, it would take quadratic time.
//! Inner nodes use [`object`], which moves its values.

use pharos_promql::syntax::ast::{
    Aggregate, AtPreprocessor, Binary, Call, Cardinality, DurationExpr, Expr, Subquery, TimeModifiers, Unary,
    VectorMatching, VectorSelector,
};
use serde_json::{Map, Value, json};

/// Moves members into an object. Trees can be deep, so this function is not inlined, which keeps the stack frames of
/// its recursive callers small.
#[inline(never)]
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_string(), value)).collect())
}

/// Converts an expression and its subexpressions.
pub(super) fn tree(expr: &Expr) -> Value {
    match expr {
        Expr::Aggregate(e) => aggregate(e),
        Expr::Binary(e) => binary(e),
        Expr::Call(e) => call(e),
        Expr::Matrix(e) => {
            let mut node = selector("matrixSelector", &e.selector);
            node.insert("range".into(), json!(e.range));
            node.insert("rangeExpr".into(), written(e.range_expr.as_ref()));
            Value::Object(node)
        }
        Expr::Subquery(e) => subquery(e),
        Expr::Number(e) => json!({"type": "numberLiteral", "val": expr_number(e.value)}),
        Expr::String(e) => json!({"type": "stringLiteral", "val": e.value}),
        Expr::Paren(e) => paren(&e.expr),
        Expr::Unary(e) => unary(e),
        Expr::Vector(e) => Value::Object(selector("vectorSelector", e)),
        Expr::Duration(e) => duration(e),
    }
}

fn paren(inner: &Expr) -> Value {
    object([("type", json!("parenExpr")), ("expr", tree(inner))])
}

fn unary(e: &Unary) -> Value {
    let sign = if e.minus { "-" } else { "+" };
    object([("type", json!("unaryExpr")), ("op", json!(sign)), ("expr", tree(&e.expr))])
}

fn aggregate(e: &Aggregate) -> Value {
    object([
        ("type", json!("aggregation")),
        ("op", json!(e.op.as_str())),
        ("expr", tree(&e.expr)),
        ("param", e.param.as_ref().map_or(Value::Null, tree)),
        ("grouping", json!(e.grouping)),
        ("without", json!(e.without)),
    ])
}

fn call(e: &Call) -> Value {
    let func = json!({
        "name": e.func.name(),
        "argTypes": e.func.args().iter().map(|t| t.as_str()).collect::<Vec<_>>(),
        "variadic": e.func.variadic(),
        "returnType": e.func.returns().as_str(),
    });
    let args = Value::Array(e.args.iter().map(tree).collect());
    object([("type", json!("call")), ("func", func), ("args", args)])
}

fn subquery(e: &Subquery) -> Value {
    let mut node = Map::from_iter([
        ("type".to_string(), json!("subquery")),
        ("expr".to_string(), tree(&e.expr)),
        ("range".to_string(), json!(e.range)),
        ("rangeExpr".to_string(), written(e.range_expr.as_ref())),
        ("step".to_string(), json!(e.step)),
        ("stepExpr".to_string(), written(e.step_expr.as_ref())),
    ]);
    time(&mut node, &e.time);
    Value::Object(node)
}

/// Converts a duration expression, or returns null if there is none.
fn written(expr: Option<&DurationExpr>) -> Value {
    expr.map_or(Value::Null, duration)
}

fn duration(e: &DurationExpr) -> Value {
    let side = |side: &Option<Box<Expr>>| match side.as_deref() {
        None => Value::Null,
        Some(Expr::Number(n)) => {
            json!({"type": "numberLiteral", "val": expr_number(n.value), "duration": n.duration})
        }
        Some(other) => tree(other),
    };
    object([
        ("type", json!("durationExpr")),
        ("op", json!(e.op.as_str())),
        ("lhs", side(&e.lhs)),
        ("rhs", side(&e.rhs)),
        ("wrapped", json!(e.wrapped)),
    ])
}

fn binary(e: &Binary) -> Value {
    object([
        ("type", json!("binaryExpr")),
        ("op", json!(e.op.as_str())),
        ("lhs", tree(&e.lhs)),
        ("rhs", tree(&e.rhs)),
        ("matching", e.matching.as_ref().map_or(Value::Null, matching)),
        ("bool", json!(e.return_bool)),
    ])
}

fn matching(m: &VectorMatching) -> Value {
    let card = match m.card {
        Cardinality::OneToOne => "one-to-one",
        Cardinality::ManyToOne => "many-to-one",
        Cardinality::OneToMany => "one-to-many",
        Cardinality::ManyToMany => "many-to-many",
    };
    json!({
        "card": card, "labels": &m.labels, "on": m.on, "include": &m.include,
        "fillValues": {"lhs": m.fill_left, "rhs": m.fill_right},
    })
}

fn selector(kind: &str, s: &VectorSelector) -> Map<String, Value> {
    let matchers: Vec<Value> =
        s.matchers.iter().map(|m| json!({"name": m.name, "value": m.value, "type": m.op.as_str()})).collect();
    let mut node = Map::from_iter([
        ("type".to_string(), json!(kind)),
        ("name".to_string(), json!(s.name)),
        ("matchers".to_string(), Value::Array(matchers)),
        ("anchored".to_string(), json!(s.anchored)),
        ("smoothed".to_string(), json!(s.smoothed)),
    ]);
    time(&mut node, &s.time);
    node
}

fn time(node: &mut Map<String, Value>, time: &TimeModifiers) {
    let start_or_end = time.at_preprocessor.map(|at| match at {
        AtPreprocessor::Start => "start",
        AtPreprocessor::End => "end",
    });
    node.insert("offset".into(), json!(time.offset));
    node.insert("offsetExpr".into(), written(time.offset_expr.as_ref()));
    node.insert("timestamp".into(), json!(time.at));
    node.insert("startOrEnd".into(), json!(start_or_end));
}

fn expr_number(value: f64) -> String {
    let mut out = Vec::new();
    crate::json::float(&mut out, value);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::tree;
    use pharos_promql::syntax::parse;

    #[test]
    fn durations_are_trees_too() {
        let json = tree(&parse("up offset (2 * 1m)").unwrap());
        let (two, minute) = (
            serde_json::json!({"type": "numberLiteral", "val": "2", "duration": false}),
            serde_json::json!({"type": "numberLiteral", "val": "60", "duration": true}),
        );
        let expected =
            serde_json::json!({"type": "durationExpr", "op": "*", "lhs": two, "rhs": minute, "wrapped": true});
        assert_eq!(json["offsetExpr"], expected);
    }

    #[test]
    fn a_tree_has_every_field() {
        use serde_json::{Value::Null, json};
        let selector = |name: &str| {
            json!({
                "type": "vectorSelector", "name": name, "anchored": false, "smoothed": false,
                "matchers": [{"name": "__name__", "value": name, "type": "="}],
                "offset": 0, "offsetExpr": Null, "timestamp": Null, "startOrEnd": Null,
            })
        };
        let negated = json!({
            "type": "unaryExpr", "op": "-", "expr": {"type": "parenExpr", "expr": selector("x")},
        });
        let topk = json!({
            "type": "aggregation", "op": "topk", "expr": negated, "param": {"type": "numberLiteral", "val": "1"},
            "grouping": ["a"], "without": false,
        });
        let subquery = json!({
            "type": "subquery", "expr": selector("y"), "range": 300_000, "rangeExpr": Null, "step": 60_000,
            "stepExpr": Null, "offset": 0, "offsetExpr": Null, "timestamp": Null, "startOrEnd": Null,
        });
        let call = json!({
            "type": "call", "args": [subquery],
            "func": {"name": "max_over_time", "argTypes": ["matrix"], "variadic": 0, "returnType": "vector"},
        });
        let expected = json!({
            "type": "binaryExpr", "op": "and", "lhs": topk, "rhs": call, "bool": false,
            "matching": {
                "card": "many-to-many", "labels": ["a"], "on": true, "include": [],
                "fillValues": {"lhs": Null, "rhs": Null},
            },
        });
        let query = "topk by (a) (1, -(x)) and on (a) max_over_time(y[5m:1m])";
        assert_eq!(tree(&parse(query).unwrap()), expected);
        assert_eq!(tree(&parse("1 + 2").unwrap())["matching"], Null);
    }

    #[test]
    fn a_tree_has_prometheus_shape() {
        let json = tree(&parse("sum by (job) (rate(up{a!=\"b\"}[5m] offset 1m)) / 2").unwrap());
        assert_eq!(json["type"], "binaryExpr");
        assert_eq!(json["rhs"], serde_json::json!({"type": "numberLiteral", "val": "2"}));
        let rate = &json["lhs"]["expr"];
        assert_eq!(rate["func"]["argTypes"][0], "matrix");
        assert_eq!(rate["args"][0]["range"], 300_000);
        assert_eq!(rate["args"][0]["offset"], 60_000);
        assert_eq!(rate["args"][0]["rangeExpr"], serde_json::Value::Null);
        assert_eq!(rate["args"][0]["matchers"][0], serde_json::json!({"name": "a", "value": "b", "type": "!="}));
    }
}
