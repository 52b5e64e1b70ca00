//! Go's `text/template`: actions, pipelines, variables, `if`, `with`, `range`, `define`, `template` and `block`, and the
//! functions of Go. Programs add theirs with [`Functions`].
//!
//! The stages are a lexer, a parser and an executor. Templates come from configuration that anybody may have written, so
//! nesting, steps and output are bounded.

mod builtins;
mod escape;
mod exec;
mod functions;
mod lex;
mod limits;
mod parse;
mod printf;
mod value;

pub use escape::escape_query;
pub use functions::{Arity, CallError, Functions};
pub use value::{List, Object, Record, Value};

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    name: String,
    text: String,
    parsed: parse::Parsed,
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
        let is_known = |name: &str| builtins::is_known(name) || is_function(name);
        match parse::parse(&text, &is_known) {
            Ok(parsed) => Ok(Template { name: name.to_string(), text, parsed }),
            Err((offset, reason)) => {
                let before = &text.as_bytes()[..offset.min(text.len())];
                let line = before.iter().filter(|b| **b == b'\n').count() + 1;
                Err(TemplateError(format!("template: {name}:{line}: {reason}")))
            }
        }
    }

    /// Executes the template with `data` as `.` and `$`.
    ///
    /// # Errors
    /// A function failed, a value has the wrong type, or the execution exceeds a limit.
    pub fn execute(&self, data: &Value, functions: &dyn Functions) -> Result<String, TemplateError> {
        exec::run(&self.parsed, &self.name, &self.text, data, functions).map_err(TemplateError)
    }
}

#[cfg(test)]
mod tests;
