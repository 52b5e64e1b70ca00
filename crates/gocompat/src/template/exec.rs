//! The executor: walks the nodes of a template and writes its output.

use super::builtins;
use super::functions::{CallError, Functions};
use super::limits::{Limits, MAX_CALLS};
use super::output::{Format, Output};
use super::parse::{Command, Node, Nodes, Operand, OperandKind, Pipe, Place};
use super::value::Value;
use super::{Source, Template, Tree};

/// Executes a template.
///
/// # Errors
/// The position, the node and the reason.
pub(super) fn run(
    template: &Template,
    data: &Value,
    functions: &dyn Functions,
    format: Format,
    limits: Limits,
) -> Result<String, String> {
    let mut run = Run {
        template,
        tree: &template.main,
        functions,
        out: Output::new(format),
        limits,
        variables: Vec::new(),
        calls: 0,
        steps: 0,
    };
    run.variables.push((String::new(), data.clone()));
    run.nodes(&template.main.nodes, data)?;
    run.out.finish().map_err(|reason| format!("{}: {reason}", template.main.source.name))
}

/// How a list of nodes ended.
enum Flow {
    Next,
    Break,
    Continue,
}

struct Run<'a> {
    template: &'a Template,
    /// The template that is being executed.
    tree: &'a Tree,
    functions: &'a dyn Functions,
    out: Output,
    limits: Limits,
    /// The variables in scope, the innermost last. The name of `$` is empty.
    variables: Vec<(String, Value)>,
    calls: usize,
    steps: usize,
}

impl<'a> Run<'a> {
    fn error(&self, at: &Place, reason: impl std::fmt::Display) -> String {
        let Source { name, text } = &*self.tree.source;
        let before = &text.as_bytes()[..at.offset.min(text.len())];
        let line = before.iter().filter(|b| **b == b'\n').count() + 1;
        let column = before.iter().rev().take_while(|b| **b != b'\n').count();
        format!("template: {name}:{line}:{column}: executing {:?} at <{}>: {reason}", self.tree.name, at.text)
    }

    fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        let Limits { steps, output } = self.limits;
        if self.steps > steps {
            return Err(format!("template: {}: more than {steps} steps", self.tree.source.name));
        }
        if self.out.len() > output {
            return Err(format!("template: {}: more than {output} bytes of output", self.tree.source.name));
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
            Node::Text(text) => self.out.text(text),
            Node::Action(pipe) => {
                let value = self.pipe(pipe, dot)?;
                if pipe.variables.is_empty() {
                    let written = self.out.value(&value, pipe.escaper());
                    written.map_err(|reason| match pipe.commands.first() {
                        Some(command) => self.error(&command.operands[0].at, reason),
                        None => reason,
                    })?;
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
        let template = self.template;
        let tree = template.find(name).ok_or_else(|| self.error(at, format!("template {name:?} not defined")))?;
        if self.calls == MAX_CALLS {
            return Err(self.error(at, format!("exceeded maximum template depth ({MAX_CALLS})")));
        }
        self.calls += 1;
        let caller = std::mem::replace(&mut self.tree, tree);
        let outer = std::mem::replace(&mut self.variables, vec![(String::new(), argument.clone())]);
        self.nodes(&tree.nodes, &argument)?;
        self.variables = outer;
        self.tree = caller;
        self.calls -= 1;
        Ok(())
    }

    fn range(&mut self, over: &Pipe, body: &Nodes, otherwise: &Nodes, dot: &Value) -> Result<Flow, String> {
        let value = self.commands(over, dot)?;
        let items: Vec<(Value, Value)> = match value.plain() {
            Value::List(list) => {
                list.items.iter().enumerate().map(|(i, item)| (Value::Int(i as i64), item.clone())).collect()
            }
            Value::Texts(map) => map.iter().map(|(name, text)| (Value::text(name), Value::text(text))).collect(),
            Value::Map(map) => map.iter().map(|(name, item)| (Value::text(name), item.clone())).collect(),
            Value::Int(n) => {
                // Each item is a step, so one more than the steps that are left suffices to exceed the limit.
                let most = self.limits.steps.saturating_sub(self.steps) + 1;
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
            if let Some((method, fields)) = first.fields.split_last() {
                let receiver = self.base(first, dot)?;
                let receiver = self.fields_of(receiver, fields, first)?;
                let args = self.arguments(rest, dot, piped)?;
                let called = receiver.method(method, &args);
                return called.map_err(|error| self.call_error(method, &field_place(first), rest, &args, error));
            }
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
        let values = self.arguments(arguments, dot, piped)?;
        let value = builtins::call(name, &values).unwrap_or_else(|| self.call_function(name, &values));
        let value = value.map_err(|error| self.call_error(name, &at.at, arguments, &values, error))?;
        self.fields(value, at)
    }

    /// The values of a call's arguments, the last of which may come through a pipe.
    fn arguments(&mut self, operands: &[Operand], dot: &Value, piped: Option<Value>) -> Result<Vec<Value>, String> {
        let mut values = Vec::with_capacity(operands.len() + 1);
        for operand in operands {
            values.push(self.operand(operand, dot)?);
        }
        values.extend(piped);
        Ok(values)
    }

    /// The error of a call. One about an argument is located there, unless the argument came through a pipe.
    fn call_error(&self, name: &str, at: &Place, operands: &[Operand], values: &[Value], error: CallError) -> String {
        let CallError::Type { expected, got } = &error else { return self.error(at, error.reason(name)) };
        let is_it = |value: &Value| value.type_name() == *got;
        // Functions take their texts first.
        let index = match expected.as_str() {
            "string" => values.iter().position(is_it),
            _ => values.iter().rposition(is_it),
        };
        match index.and_then(|index| operands.get(index)) {
            None => self.error(at, error.reason(name)),
            Some(Operand { kind: OperandKind::Literal(_), at, .. }) => match expected.as_str() {
                "string" => self.error(at, format!("expected string; found {}", at.text)),
                other => self.error(at, format!("can't handle {} for arg of type {other}", at.text)),
            },
            Some(operand) => self.error(&operand.at, error.reason(name)),
        }
    }

    /// Calls a function that is not Go's own.
    fn call_function(&self, name: &str, args: &[Value]) -> Result<Value, CallError> {
        let arity =
            self.functions.arity(name).ok_or_else(|| CallError::Arguments(format!("{name} is not a function")))?;
        arity.check(name, args.len())?;
        self.functions.call(name, args)
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, String> {
        if let OperandKind::Function(name) = &operand.kind {
            return self.function(name, operand, &[], dot, None);
        }
        let value = self.base(operand, dot)?;
        self.fields(value, operand)
    }

    /// The value of an operand without its fields.
    fn base(&mut self, operand: &Operand, dot: &Value) -> Result<Value, String> {
        Ok(match &operand.kind {
            OperandKind::Dot => dot.clone(),
            OperandKind::Literal(value) => value.clone(),
            OperandKind::Variable(name) => {
                let found = self.variables.iter().rev().find(|(known, _)| known == name);
                found.map(|(_, value)| value.clone()).unwrap_or(Value::Nil)
            }
            OperandKind::Pipe(pipe) => self.pipe(pipe, dot)?,
            OperandKind::Function(name) => self.function(name, operand, &[], dot, None)?,
        })
    }

    fn fields(&self, value: Value, of: &Operand) -> Result<Value, String> {
        self.fields_of(value, &of.fields, of)
    }

    fn fields_of(&self, mut value: Value, fields: &[String], of: &Operand) -> Result<Value, String> {
        for name in fields {
            value = value.field(name).map_err(|reason| self.error(&field_place(of), reason))?;
        }
        Ok(value)
    }
}

/// Where Go locates an error about the fields of an operand: at the second one, at the one behind a variable, or where the
/// evaluation of a parenthesis ended.
fn field_place(of: &Operand) -> Place {
    let behind = match (&of.kind, of.fields.as_slice()) {
        (OperandKind::Variable(name), [_, ..]) => name.len() + 1,
        (OperandKind::Dot, [first, _, ..]) => first.len() + 1,
        (OperandKind::Pipe(pipe), [_, ..]) => {
            let last = pipe.commands.last().and_then(|command| command.operands.last());
            return last.map_or(of.at.clone(), |operand| operand.at.clone());
        }
        _ => 0,
    };
    Place { offset: of.at.offset + behind, text: of.at.text.clone() }
}
