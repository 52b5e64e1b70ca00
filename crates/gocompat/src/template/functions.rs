//! What a template's functions must provide.

use super::value::Value;

/// The functions that templates have besides Go's own.
pub trait Functions {
    /// How many arguments the function `name` takes; `None` if there is no such function.
    fn arity(&self, name: &str) -> Option<Arity>;

    /// Calls the function `name` with a number of arguments that its arity allows.
    ///
    /// # Errors
    /// The function does not take these arguments, or it failed.
    fn call(&self, name: &str, args: &[Value]) -> Result<Value, CallError>;
}

/// How many arguments a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arity {
    /// Exactly so many.
    Exactly(usize),
    /// So many or more.
    AtLeast(usize),
}

impl Arity {
    pub(super) fn check(self, name: &str, got: usize) -> Result<(), CallError> {
        let (fits, want) = match self {
            Arity::Exactly(n) => (got == n, n.to_string()),
            Arity::AtLeast(n) => (got >= n, format!("at least {n}")),
        };
        if fits {
            Ok(())
        } else {
            Err(CallError::Arguments(format!("wrong number of args for {name}: want {want} got {got}")))
        }
    }
}

/// Why a call has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The function does not take these arguments.
    Arguments(String),
    /// The function does not take an argument of a type.
    Type {
        /// The type that it takes.
        expected: String,
        /// The type of the argument.
        got: &'static str,
    },
    /// The function failed; messages say `error calling` before the reason.
    Failed(String),
}

impl CallError {
    /// An argument of a type that the function does not take.
    pub fn wrong_type(expected: &str, got: &Value) -> Self {
        CallError::Type { expected: expected.to_string(), got: got.type_name() }
    }

    /// What is wrong with the call of the function or method `name`.
    pub fn reason(&self, name: &str) -> String {
        match self {
            CallError::Arguments(reason) => reason.clone(),
            CallError::Type { expected, got } => format!("wrong type for value; expected {expected}; got {got}"),
            CallError::Failed(reason) => format!("error calling {name}: {reason}"),
        }
    }
}

impl From<String> for CallError {
    fn from(reason: String) -> Self {
        CallError::Failed(reason)
    }
}
