//! The executor: walks the nodes of a template and writes its output.

use std::collections::BTreeMap;

use super::builtins;
use super::functions::{CallError, Functions};
use super::limits::{MAX_CALLS, MAX_OUTPUT, MAX_STEPS};
use super::parse::{Command, Node, Nodes, Operand, OperandKind, Parsed, Pipe, Place};
use super::value::Value;

/// Executes a template.
///
/// # Errors
/// The position, the node and the reason.
pub(super) fn run(
    parsed: &Parsed,
    name: &str,
    text: &str,
    data: &Value,
    functions: &dyn Functions,
) -> Result<String, String> {
    let mut run = Run {
        named: &parsed.named,
        name,
        text,
        functions,
        out: String::new(),
        variables: Vec::new(),
        calls: 0,
        steps: 0,
    };
    run.variables.push((String::new(), data.clone()));
    run.nodes(&parsed.main, data)?;
    Ok(run.out)
}

/// How a list of nodes ended.
enum Flow {
    Next,
    Break,
    Continue,
}

struct Run<'a> {
    named: &'a BTreeMap<String, Nodes>,
    name: &'a str,
    text: &'a str,
    functions: &'a dyn Functions,
    out: String,
    /// The variables in scope, the innermost last. The name of `$` is empty.
    variables: Vec<(String, Value)>,
    calls: usize,
    steps: usize,
}

impl Run<'_> {
    fn error(&self, at: &Place, reason: impl std::fmt::Display) -> String {
        let before = &self.text.as_bytes()[..at.offset.min(self.text.len())];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|b| **b != b'\n').count();
        let name = self.name;
        format!("template: {name}:{line}:{column}: executing {name:?} at <{}>: {reason}", at.text)
    }

    fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            return Err(format!("template: {}: more than {MAX_STEPS} steps", self.name));
        }
        if self.out.len() > MAX_OUTPUT {
            return Err(format!("template: {}: more than {MAX_OUTPUT} bytes of output", self.name));
        }
        Ok(())
    }

    fn nodes(&mut self, nodes: &Nodes, dot: &Value) -> Result<Flow, String> {
        let scope = self.variables.len();
        let mut flow = Flow::Next;
        for node in nodes {
            flow = self.node(node, dot)?;
            if !matches!(flow, Flow::Next) {
                break;
            }
        }
        self.variables.truncate(scope.max(1));
        Ok(flow)
    }

    fn node(&mut self, node: &Node, dot: &Value) -> Result<Flow, String> {
        self.step()?;
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Action(pipe) => {
                let value = self.pipe(pipe, dot)?;
                if pipe.variables.is_empty() {
                    self.out.push_str(&value.to_string());
                }
            }
            Node::If { condition, then, otherwise } => {
                let scope = self.variables.len();
                let value = self.pipe(condition, dot)?;
                let flow = self.nodes(if value.truth() { then } else { otherwise }, dot);
                self.variables.truncate(scope);
                return flow;
            }
            Node::With { value, then, otherwise } => {
                let scope = self.variables.len();
                let value = self.pipe(value, dot)?;
                let flow = if value.truth() { self.nodes(then, &value) } else { self.nodes(otherwise, dot) };
                self.variables.truncate(scope);
                return flow;
            }
            Node::Range { over, body, otherwise } => {
                let scope = self.variables.len();
                let flow = self.range(over, body, otherwise, dot);
                self.variables.truncate(scope);
                return flow;
            }
            Node::Template { name, argument, at } => self.call(name, argument.as_ref(), at, dot)?,
            Node::Break => return Ok(Flow::Break),
            Node::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    fn call(&mut self, name: &str, argument: Option<&Pipe>, at: &Place, dot: &Value) -> Result<(), String> {
        let argument = match argument {
            Some(pipe) => self.pipe(pipe, dot)?,
            None => Value::Nil,
        };
        let named = self.named;
        let nodes = named.get(name).ok_or_else(|| self.error(at, format!("template {name:?} not defined")))?;
        if self.calls == MAX_CALLS {
            return Err(self.error(at, format!("exceeded maximum template depth ({MAX_CALLS})")));
        }
        self.calls += 1;
        let outer = std::mem::replace(&mut self.variables, vec![(String::new(), argument.clone())]);
        self.nodes(nodes, &argument)?;
        self.variables = outer;
        self.calls -= 1;
        Ok(())
    }

    fn range(&mut self, over: &Pipe, body: &Nodes, otherwise: &Nodes, dot: &Value) -> Result<Flow, String> {
        let value = self.commands(over, dot)?;
        let items: Vec<(Value, Value)> = match &value {
            Value::List(list) => {
                list.items.iter().enumerate().map(|(i, item)| (Value::Int(i as i64), item.clone())).collect()
            }
            Value::Texts(map) => map.iter().map(|(name, text)| (Value::text(name), Value::text(text))).collect(),
            Value::Map(map) => map.iter().map(|(name, item)| (Value::text(name), item.clone())).collect(),
            Value::Int(n) => {
                // Each item is a step, so one more than the steps that are left suffices to exceed the limit.
                let most = MAX_STEPS.saturating_sub(self.steps) + 1;
                (0..(*n).clamp(0, most as i64)).map(|i| (Value::Int(i), Value::Int(i))).collect()
            }
            Value::Nil => Vec::new(),
            other => {
                let reason = format!("range can't iterate over {other}");
                return Err(over.commands.first().map_or(reason.clone(), |c| self.error(&c.operands[0].at, reason)));
            }
        };
        if items.is_empty() {
            return self.nodes(otherwise, dot);
        }
        for (key, item) in items {
            self.step()?;
            let scope = self.variables.len();
            match over.variables.as_slice() {
                [name] => self.set(name, item.clone(), over.assigns),
                [first, second] => {
                    self.set(first, key, over.assigns);
                    self.set(second, item.clone(), over.assigns);
                }
                _ => {}
            }
            let flow = self.nodes(body, &item)?;
            self.variables.truncate(scope);
            if matches!(flow, Flow::Break) {
                break;
            }
        }
        Ok(Flow::Next)
    }

    fn set(&mut self, name: &str, value: Value, assigns: bool) {
        let existing = self.variables.iter_mut().rev().find(|(known, _)| assigns && known == name);
        match existing {
            Some((_, known)) => *known = value,
            None => self.variables.push((name.to_string(), value)),
        }
    }

    fn pipe(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value, String> {
        let value = self.commands(pipe, dot)?;
        for name in &pipe.variables {
            self.set(name, value.clone(), pipe.assigns);
        }
        Ok(value)
    }

    fn commands(&mut self, pipe: &Pipe, dot: &Value) -> Result<Value, String> {
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(command, dot, value)?);
        }
        Ok(value.unwrap_or(Value::Nil))
    }

    fn command(&mut self, command: &Command, dot: &Value, piped: Option<Value>) -> Result<Value, String> {
        self.step()?;
        let (first, rest) = command.operands.split_first().ok_or("an empty command")?;
        if let OperandKind::Function(name) = &first.kind {
            return self.function(name, first, rest, dot, piped);
        }
        if !rest.is_empty() || piped.is_some() {
            return Err(self.error(&first.at, format!("can't give argument to non-function {}", first.at.text)));
        }
        if matches!(first.kind, OperandKind::Literal(Value::Nil)) {
            return Err(self.error(&first.at, "nil is not a command"));
        }
        self.operand(first, dot)
    }

    fn function(
        &mut self,
        name: &str,
        at: &Operand,
        arguments: &[Operand],
        dot: &Value,
        piped: Option<Value>,
    ) -> Result<Value, String> {
        // `and` and `or` evaluate their arguments from left to right, until one decides.
        if matches!(name, "and" | "or") {
            let mut value = Value::Nil;
            for argument in arguments {
                value = self.operand(argument, dot)?;
                if value.truth() == (name == "or") {
                    return self.fields(value, at);
                }
            }
            return match piped.unwrap_or(value) {
                Value::Nil if arguments.is_empty() => {
                    Err(self.error(&at.at, format!("wrong number of args for {name}: want at least 1 got 0")))
                }
                value => self.fields(value, at),
            };
        }
        let mut values = Vec::with_capacity(arguments.len() + 1);
        for argument in arguments {
            values.push(self.operand(argument, dot)?);
        }
        values.extend(piped);
        let value = builtins::call(name, &values).unwrap_or_else(|| self.call_function(name, &values));
        let value = value.map_err(|error| match error {
            CallError::Arguments(reason) => self.error(&at.at, reason),
            CallError::Failed(reason) => self.error(&at.at, format!("error calling {name}: {reason}")),
        })?;
        self.fields(value, at)
    }

    /// Calls a function that is not Go's own.
    fn call_function(&self, name: &str, args: &[Value]) -> Result<Value, CallError> {
        let arity =
            self.functions.arity(name).ok_or_else(|| CallError::Arguments(format!("{name} is not a function")))?;
        arity.check(name, args.len())?;
        self.functions.call(name, args)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, String> {
        let value = match &operand.kind {
            OperandKind::Dot => dot.clone(),
            OperandKind::Literal(value) => value.clone(),
            OperandKind::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                found.map(|(_, value)| value.clone()).unwrap_or(Value::Nil)
            }
            OperandKind::Pipe(pipe) => self.pipe(pipe, dot)?,
            OperandKind::Function(name) => return self.function(name, operand, &[], dot, None),
        };
        self.fields(value, operand)
    }

    fn fields(&self, mut value: Value, of: &Operand) -> Result<Value, String> {
        for name in &of.fields {
            value = value.field(name).map_err(|reason| {
                // Go locates the field of a variable after the variable.
                let behind = if let OperandKind::Variable(name) = &of.kind { name.len() + 1 } else { 0 };
                self.error(&Place { offset: of.at.offset + behind, ..of.at.clone() }, reason)
            })?;
        }
        Ok(value)
    }
}
