//! Go's `text/template`: actions, pipelines, variables, `if`, `with`, `range`, `define`, `template` and `block`, and the
//! functions of Go. Programs add theirs with [`Functions`]. [`Format::Html`] escapes values by where they stand in a page, as
//! `html/template` does.
//!
//! The stages are a lexer, a parser and an executor. Templates come from configuration that anybody may have written, so
//! nesting, steps and output are bounded.

mod builtins;
mod escape;
mod exec;
mod functions;
mod html;
mod lex;
mod limits;
mod output;
mod parse;
mod printf;
mod value;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use escape::escape_query;
pub use functions::{Arity, CallError, Functions};
pub use limits::Limits;
pub use output::Format;
pub use value::{List, Object, Record, Trust, Trusted, Value};

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    main: Arc<Tree>,
    /// The templates that the text defines.
    own: Named,
    /// The templates of the set that it was parsed with.
    shared: Arc<Named>,
}

/// Templates by name, which call each other.
type Named = BTreeMap<Arc<str>, Arc<Tree>>;

/// The nodes of a template of one name.
#[derive(Debug)]
struct Tree {
    name: Arc<str>,
    source: Arc<Source>,
    nodes: parse::Nodes,
}

/// The text that templates were parsed from, for errors.
#[derive(Debug)]
struct Source {
    name: String,
    text: String,
}

/// Why a template cannot be parsed or executed, with its place, in Go's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TemplateError(String);

impl Template {
    /// Parses a template. `is_function` knows the functions that it will be executed with.
    ///
    /// # Errors
    /// Go's parser would refuse the text, or actions nest too deeply.
    pub fn parse(name: &str, text: String, is_function: &dyn Fn(&str) -> bool) -> Result<Self, TemplateError> {
        TemplateSet::default().template(name, text, is_function)
    }

    /// Executes the template with `data` as `.` and `$`.
    ///
    /// # Errors
    /// A function failed, a value has the wrong type, or the execution exceeds a limit.
    pub fn execute(&self, data: &Value, functions: &dyn Functions) -> Result<String, TemplateError> {
        self.execute_as(Format::Text, data, functions, Limits::default())
    }

    /// Executes the template with `data` as `.` and `$`, and writes text or HTML.
    ///
    /// # Errors
    /// A function failed, a value has the wrong type or no place in the HTML, or the execution exceeds a limit.
    pub fn execute_as(
        &self,
        format: Format,
        data: &Value,
        functions: &dyn Functions,
        limits: Limits,
    ) -> Result<String, TemplateError> {
        exec::run(self, data, functions, format, limits).map_err(TemplateError)
    }

    fn find(&self, name: &str) -> Option<&Tree> {
        self.own.get(name).or_else(|| self.shared.get(name)).map(|tree| &**tree)
    }
}

/// Templates that may call each other by name. A clone shares them.
#[derive(Clone, Debug, Default)]
pub struct TemplateSet {
    named: Arc<Named>,
}

impl TemplateSet {
    /// Adds the templates that a text defines, and what is outside of them as the template `name`. They replace templates of
    /// the same names, unless they are blank.
    ///
    /// # Errors
    /// As of [`Template::parse`].
    pub fn add(&mut self, name: &str, text: String, is_function: &dyn Fn(&str) -> bool) -> Result<(), TemplateError> {
        let Template { main, own, .. } = self.template(name, text, is_function)?;
        let named = Arc::make_mut(&mut self.named);
        for tree in own.into_values().chain([main]) {
            match named.get(&tree.name) {
                Some(old) if parse::is_blank(&tree.nodes) && !parse::is_blank(&old.nodes) => {}
                _ => drop(named.insert(tree.name.clone(), tree)),
            }
        }
        Ok(())
    }

    /// Parses a template that may call those of the set.
    ///
    /// # Errors
    /// As of [`Template::parse`].
    pub fn template(
        &self,
        name: &str,
        text: String,
        is_function: &dyn Fn(&str) -> bool,
    ) -> Result<Template, TemplateError> {
        let is_known = |name: &str| builtins::is_known(name) || is_function(name);
        let parsed = parse::parse(&text, &is_known).map_err(|(offset, reason)| {
            let before = &text.as_bytes()[..offset.min(text.len())];
            let line = before.iter().filter(|b| **b == b'\n').count() + 1;
            TemplateError(format!("template: {name}:{line}: {reason}"))
        })?;
        let source = Arc::new(Source { name: name.to_string(), text });
        let tree = |name: &str, nodes| Arc::new(Tree { name: name.into(), source: source.clone(), nodes });
        let main = tree(name, parsed.main);
        let own = parsed.named.into_iter().map(|(name, nodes)| {
            let tree = tree(&name, nodes);
            (tree.name.clone(), tree)
        });
        Ok(Template { main, own: own.collect(), shared: self.named.clone() })
    }
}

#[cfg(test)]
mod tests;
