//! The parser: from tokens to nodes. Nodes keep their positions for errors of the executor.

use std::collections::BTreeMap;

use super::lex::{Failure, Lexer, Token, TokenKind};
use super::limits::MAX_NESTING;
use super::output::Escaper;
use super::value::Value;

/// Nodes that are executed in order.
pub(super) type Nodes = Vec<Node>;

/// An element of a template.
#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Action(Pipe),
    If { condition: Pipe, then: Nodes, otherwise: Nodes },
    With { value: Pipe, then: Nodes, otherwise: Nodes },
    Range { over: Pipe, body: Nodes, otherwise: Nodes },
    Template { name: String, argument: Option<Pipe>, at: Place },
    Break,
    Continue,
}

/// The position and the text of a node, for errors.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) offset: usize,
    pub(super) text: String,
}

/// A pipeline, `$x := command | command`.
#[derive(Debug)]
pub(super) struct Pipe {
    /// The variables that are set, without `$`.
    pub(super) variables: Vec<String>,
    /// Whether the variables exist already (`=` and not `:=`).
    pub(super) assigns: bool,
    pub(super) commands: Vec<Command>,
}

impl Pipe {
    /// The escaper of Go's that the pipeline ends with.
    pub(super) fn escaper(&self) -> Option<Escaper> {
        match &self.commands.last()?.operands.first()?.kind {
            OperandKind::Function(name) if name == "html" => Some(Escaper::Html),
            OperandKind::Function(name) if name == "urlquery" => Some(Escaper::UrlQuery),
            _ => None,
        }
    }
}

/// An operand and its arguments.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) operands: Vec<Operand>,
}

#[derive(Debug)]
pub(super) struct Operand {
    pub(super) kind: OperandKind,
    /// Fields to take, each of the value of the previous one.
    pub(super) fields: Vec<String>,
    pub(super) at: Place,
}

#[derive(Debug)]
pub(super) enum OperandKind {
    Dot,
    Literal(Value),
    Variable(String),
    Function(String),
    Pipe(Box<Pipe>),
}

/// A parsed template: its nodes and the named templates that it defines.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    pub(super) main: Nodes,
    pub(super) named: BTreeMap<String, Nodes>,
}

/// Whether a template consists of space only. Such a template replaces no other.
pub(super) fn is_blank(nodes: &Nodes) -> bool {
    nodes.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
}

/// The end of a list of nodes.
#[derive(Debug, PartialEq)]
enum End {
    Text,
    Close,
    Else(Option<&'static str>),
}

/// Parses a template. Names for which `is_function` is false are not functions.
pub(super) fn parse(text: &str, is_function: &dyn Fn(&str) -> bool) -> Result<Parsed, Failure> {
    let mut parser = Parser {
        lexer: Lexer::new(text),
        is_function,
        peeked: None,
        parsed: Parsed::default(),
        depth: 0,
        loops: 0,
        variables: vec![String::new()],
    };
    let (main, end) = parser.nodes()?;
    if end != End::Text {
        return Err((parser.lexer.offset(), format!("unexpected {}", end.name())));
    }
    parser.parsed.main = main;
    Ok(parser.parsed)
}

impl End {
    fn name(&self) -> &'static str {
        match self {
            End::Text => "EOF",
            End::Close => "{{end}}",
            End::Else(_) => "{{else}}",
        }
    }
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    is_function: &'a dyn Fn(&str) -> bool,
    peeked: Option<Token>,
    parsed: Parsed,
    depth: usize,
    loops: usize,
    /// The variables in scope. The empty name is `$`.
    variables: Vec<String>,
}

impl Parser<'_> {
    fn next(&mut self) -> Result<Token, Failure> {
        match self.peeked.take() {
            Some(token) => Ok(token),
            None => self.lexer.next(),
        }
    }

    fn peek(&mut self) -> Result<&Token, Failure> {
        if self.peeked.is_none() {
            self.peeked = Some(self.lexer.next()?);
        }
        self.peeked.as_ref().ok_or((0, "unexpected EOF".into()))
    }

    /// Reads the next token other than space.
    fn solid(&mut self) -> Result<Token, Failure> {
        self.skip_space()?;
        self.next()
    }

    fn skip_space(&mut self) -> Result<(), Failure> {
        while self.peek()?.kind == TokenKind::Space {
            self.next()?;
        }
        Ok(())
    }

    fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Failure>) -> Result<T, Failure> {
        self.depth += 1;
        if self.depth > MAX_NESTING {
            return Err((self.lexer.offset(), format!("nested deeper than {MAX_NESTING} levels")));
        }
        let result = work(self);
        self.depth -= 1;
        result
    }

    fn nodes(&mut self) -> Result<(Nodes, End), Failure> {
        let mut nodes = Nodes::new();
        loop {
            let token = self.next()?;
            match token.kind {
                TokenKind::Eof => return Ok((nodes, End::Text)),
                TokenKind::Text(text) => nodes.push(Node::Text(text)),
                TokenKind::Open => {
                    if let Some(end) = self.action(&mut nodes)? {
                        return Ok((nodes, end));
                    }
                }
                other => return Err((token.offset, format!("unexpected {} in input", other.name()))),
            }
        }
    }

    /// Parses an action, the text between `{{` and `}}`. Returns whether it ends the list.
    fn action(&mut self, nodes: &mut Nodes) -> Result<Option<End>, Failure> {
        let token = self.solid()?;
        let TokenKind::Word(word) = &token.kind else {
            self.peeked = Some(token);
            nodes.push(Node::Action(self.pipe("command")?));
            return Ok(None);
        };
        let node = match word.as_str() {
            "if" => self.branch("if")?,
            "with" => self.branch("with")?,
            "range" => self.branch("range")?,
            "template" => self.template()?,
            "define" => return self.define(token.offset).map(|()| None),
            "block" => self.block()?,
            "break" | "continue" => {
                if self.loops == 0 {
                    return Err((token.offset, format!("{{{{{word}}}}} outside {{{{range}}}}")));
                }
                let node = if word == "break" { Node::Break } else { Node::Continue };
                self.close(word)?;
                node
            }
            "end" => return self.close("end").map(|()| Some(End::Close)),
            "else" => return self.or_else().map(Some),
            _ => {
                self.peeked = Some(token);
                Node::Action(self.pipe("command")?)
            }
        };
        nodes.push(node);
        Ok(None)
    }

    fn close(&mut self, context: &str) -> Result<(), Failure> {
        let token = self.solid()?;
        match token.kind {
            TokenKind::Close => Ok(()),
            other => Err((token.offset, format!("unexpected {} in {context}", other.name()))),
        }
    }

    /// Parses what follows `else`: `}}`, `if` or `with`.
    fn or_else(&mut self) -> Result<End, Failure> {
        self.skip_space()?;
        let chained = match &self.peek()?.kind {
            TokenKind::Word(word) if word == "if" => Some("if"),
            TokenKind::Word(word) if word == "with" => Some("with"),
            _ => None,
        };
        match chained {
            Some(_) => self.next().map(drop)?,
            None => self.close("else")?,
        }
        Ok(End::Else(chained))
    }

    fn branch(&mut self, word: &'static str) -> Result<Node, Failure> {
        self.deeper(|parser| {
            let scope = parser.variables.len();
            let pipe = parser.pipe(word)?;
            parser.loops += usize::from(word == "range");
            let (then, end) = parser.nodes()?;
            parser.loops -= usize::from(word == "range");
            let otherwise = match end {
                End::Close => Nodes::new(),
                End::Else(Some(chained)) if chained == word => vec![parser.branch(chained)?],
                End::Else(Some(_)) => return Err((parser.lexer.offset(), format!("unexpected else in {word}"))),
                End::Else(None) => match parser.nodes()? {
                    (otherwise, End::Close) => otherwise,
                    (_, end) => return Err((parser.lexer.offset(), format!("expected end; found {}", end.name()))),
                },
                End::Text => return Err((parser.lexer.offset(), "unexpected EOF".into())),
            };
            parser.variables.truncate(scope);
            Ok(match word {
                "if" => Node::If { condition: pipe, then, otherwise },
                "with" => Node::With { value: pipe, then, otherwise },
                _ => Node::Range { over: pipe, body: then, otherwise },
            })
        })
    }

    fn name(&mut self, context: &str) -> Result<String, Failure> {
        let token = self.solid()?;
        match token.kind {
            TokenKind::Text(text) => Ok(text),
            TokenKind::Literal(Value::Text(text)) => Ok(text.to_string()),
            other => Err((token.offset, format!("unexpected {} in {context}", other.name()))),
        }
    }

    fn template(&mut self) -> Result<Node, Failure> {
        self.skip_space()?;
        let at = Place { offset: self.peek()?.offset, text: String::new() };
        let name = self.name("template clause")?;
        self.skip_space()?;
        let begin = self.peek()?.offset;
        let argument = match self.peek()?.kind {
            TokenKind::Close => self.next().map(|_| None)?,
            _ => Some(self.pipe("template clause")?),
        };
        let shown = match &argument {
            Some(_) => {
                let text = self.lexer.text_from(begin, self.lexer.offset());
                format!(" {}", text.trim_end_matches('}').trim_end_matches(['-', ' ', '\n', '\t', '\r']))
            }
            None => String::new(),
        };
        let at = Place { text: format!("{{{{template {name:?}{shown}}}}}"), ..at };
        Ok(Node::Template { at, name, argument })
    }

    fn define(&mut self, offset: usize) -> Result<(), Failure> {
        let name = self.name("define clause")?;
        self.close("define clause")?;
        if self.depth > 0 {
            return Err((offset, "unexpected {{define}}".into()));
        }
        let nodes = self.body()?;
        self.name_nodes(name, nodes)
    }

    /// Adds a named template. One without content gives way to another of its name.
    fn name_nodes(&mut self, name: String, nodes: Nodes) -> Result<(), Failure> {
        match self.parsed.named.get(&name) {
            Some(old) if !is_blank(old) && is_blank(&nodes) => {}
            Some(old) if !is_blank(old) => {
                return Err((self.lexer.offset(), format!("template: multiple definition of template {name:?}")));
            }
            _ => drop(self.parsed.named.insert(name, nodes)),
        }
        Ok(())
    }

    fn block(&mut self) -> Result<Node, Failure> {
        let name = self.name("block clause")?;
        let argument = self.pipe("block clause")?;
        let nodes = self.body()?;
        self.name_nodes(name.clone(), nodes)?;
        let at = Place { offset: self.lexer.offset(), text: format!("{{{{template {name:?}}}}}") };
        Ok(Node::Template { name, argument: Some(argument), at })
    }

    /// Parses the nodes of a named template, which does not see variables from outside.
    fn body(&mut self) -> Result<Nodes, Failure> {
        self.deeper(|parser| {
            let outer = std::mem::replace(&mut parser.variables, vec![String::new()]);
            let loops = std::mem::take(&mut parser.loops);
            let (nodes, end) = parser.nodes()?;
            parser.variables = outer;
            parser.loops = loops;
            match end {
                End::Close => Ok(nodes),
                end => Err((parser.lexer.offset(), format!("unexpected {} in define clause", end.name()))),
            }
        })
    }

    /// Parses a pipeline up to `}}`.
    fn pipe(&mut self, context: &str) -> Result<Pipe, Failure> {
        self.pipe_until(context, TokenKind::Close)
    }

    fn pipe_until(&mut self, context: &str, end: TokenKind) -> Result<Pipe, Failure> {
        let mut pipe = Pipe { variables: Vec::new(), assigns: false, commands: Vec::new() };
        self.declaration(&mut pipe, context)?;
        loop {
            self.skip_space()?;
            let command = self.command()?;
            let token = self.solid()?;
            if command.operands.is_empty() {
                let missing = if token.kind == end && pipe.commands.is_empty() {
                    format!("missing value for {context}")
                } else {
                    format!("unexpected {} in {context}", token.kind.name())
                };
                return Err((token.offset, missing));
            }
            let first = &command.operands[0];
            if !pipe.commands.is_empty()
                && matches!(first.kind, OperandKind::Literal(_) | OperandKind::Dot)
                && first.fields.is_empty()
            {
                let stage = pipe.commands.len() + 1;
                return Err((first.at.offset, format!("non executable command in pipeline stage {stage}")));
            }
            pipe.commands.push(command);
            match token.kind {
                TokenKind::Pipe => {}
                kind if kind == end => break,
                other => return Err((token.offset, format!("unexpected {} in {context}", other.name()))),
            }
        }
        if !pipe.assigns {
            self.variables.extend(pipe.variables.iter().cloned());
        }
        Ok(pipe)
    }

    /// Parses `$x :=`, `$i, $x :=` or `$x =` at the start of a pipeline.
    fn declaration(&mut self, pipe: &mut Pipe, context: &str) -> Result<(), Failure> {
        self.skip_space()?;
        let start = self.lexer.mark(self.peeked.as_ref());
        let mut names = Vec::new();
        while let TokenKind::Variable(name) = self.solid()?.kind {
            names.push(name);
            let token = self.solid()?;
            match token.kind {
                TokenKind::Comma if context == "range" && names.len() == 1 => continue,
                TokenKind::Declare | TokenKind::Assign => {
                    pipe.assigns = token.kind == TokenKind::Assign;
                    if let Some(unknown) = names.iter().find(|name| pipe.assigns && !self.variables.contains(name)) {
                        return Err((token.offset, format!("undefined variable \"${unknown}\"")));
                    }
                    pipe.variables = names;
                    return Ok(());
                }
                _ => break,
            }
        }
        self.lexer.reset(start);
        self.peeked = None;
        Ok(())
    }

    fn command(&mut self) -> Result<Command, Failure> {
        let mut operands = Vec::new();
        while let Some(operand) = self.operand()? {
            operands.push(operand);
            match &self.peek()?.kind {
                TokenKind::Space => self.skip_space()?,
                TokenKind::Pipe | TokenKind::Close | TokenKind::CloseParen => break,
                other => {
                    let message = format!("unexpected {} in operand", other.name());
                    return Err((self.lexer.offset(), message));
                }
            }
        }
        if let [Operand { kind: OperandKind::Function(_), at, .. }, .., last] = operands.as_mut_slice() {
            at.text = self.lexer.text_from(at.offset, last.at.offset + last.at.text.len());
        }
        Ok(Command { operands })
    }

    fn operand(&mut self) -> Result<Option<Operand>, Failure> {
        let token = self.next()?;
        let offset = token.offset;
        let mut fields = Vec::new();
        let kind = match token.kind {
            TokenKind::Literal(value) => OperandKind::Literal(value),
            TokenKind::Dot => OperandKind::Dot,
            TokenKind::Field(name) => {
                fields.push(name);
                OperandKind::Dot
            }
            TokenKind::Variable(name) => {
                if !self.variables.contains(&name) {
                    return Err((offset, format!("undefined variable \"${name}\"")));
                }
                OperandKind::Variable(name)
            }
            TokenKind::Word(name) => {
                if !(self.is_function)(&name) {
                    return Err((offset, format!("function {name:?} not defined")));
                }
                OperandKind::Function(name)
            }
            TokenKind::OpenParen => {
                let pipe = self.deeper(|parser| parser.pipe_until("parenthesized pipeline", TokenKind::CloseParen))?;
                OperandKind::Pipe(Box::new(pipe))
            }
            kind => {
                self.peeked = Some(Token { kind, offset });
                return Ok(None);
            }
        };
        while let TokenKind::Field(name) = &self.peek()?.kind {
            fields.push(name.clone());
            self.next()?;
        }
        let text = self.lexer.text_between(offset, self.peeked.as_ref());
        Ok(Some(Operand { kind, fields, at: Place { offset, text } }))
    }
}
