//! Tokens: their kinds, the keywords, and their names in error messages.

use pharos_gocompat::GoQuoted;

use super::ast::{AggregateOp, BinaryOp, Pos};

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Eof,
    /// A word without colons, which can be a metric or a label name.
    Identifier,
    /// A word with colons, which can only be a metric name.
    MetricIdentifier,
    Number,
    Duration,
    /// A string literal, including its quotes.
    String,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    /// `=`
    Assign,
    /// `=~`
    MatchRegex,
    /// `!~`
    MatchNotRegex,
    At,
    /// A binary operator, either symbols or a word such as `and`.
    Binary(BinaryOp),
    Aggregate(AggregateOp),
    Keyword(Keyword),
    /// A word that is a function before `(` and a metric name elsewhere.
    Preprocessor(Preprocessor),
}

/// Reserved words of the grammar. Most are still valid metric and label names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyword {
    Offset,
    Smoothed,
    Anchored,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Bool,
}

/// Words for values that are known only when the query runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preprocessor {
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

/// A token: its kind and its position in the query, which holds its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) pos: Pos,
}

impl Kind {
    /// Returns the kind of a word. Keywords are case-insensitive.
    pub(super) fn of_word(word: &str) -> Kind {
        let mut lower = [0u8; LONGEST_KEYWORD];
        let Some(lower) = lower.get_mut(..word.len()) else { return Kind::of_name(word) };
        lower.copy_from_slice(word.as_bytes());
        lower.make_ascii_lowercase();
        keyword(lower).unwrap_or_else(|| Kind::of_name(word))
    }

    fn of_name(word: &str) -> Kind {
        if word.contains(':') { Kind::MetricIdentifier } else { Kind::Identifier }
    }

    /// Returns whether the token is a valid metric name at the start of an expression.
    pub(super) fn is_metric_name(self) -> bool {
        use Keyword::*;
        match self {
            Kind::Identifier | Kind::MetricIdentifier | Kind::Aggregate(_) | Kind::Preprocessor(_) => true,
            Kind::Binary(op) => matches!(op, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless),
            Kind::Keyword(word) => !matches!(word, On | Ignoring | GroupLeft | GroupRight | Bool),
            _ => false,
        }
    }

    /// Returns whether the token is a valid label name in a clause such as `by (…)` or `on (…)`.
    pub(super) fn is_grouping_label(self) -> bool {
        let without = self == Kind::Keyword(Keyword::Without);
        !without && (self.is_metric_name() || matches!(self, Kind::Keyword(_) | Kind::Binary(BinaryOp::Atan2)))
    }

    /// Returns whether an expression can start with the token.
    pub(super) fn begins_expression(self) -> bool {
        self.is_metric_name()
            || matches!(
                self,
                Kind::Number
                    | Kind::Duration
                    | Kind::String
                    | Kind::LeftParen
                    | Kind::LeftBrace
                    | Kind::Binary(BinaryOp::Add | BinaryOp::Sub)
            )
    }

    /// Describes the token for messages of the form "unexpected …".
    pub(super) fn describe(self, text: &str) -> String {
        match self {
            Kind::Eof => "end of input".to_string(),
            Kind::Identifier => format!("identifier {}", GoQuoted(text)),
            Kind::MetricIdentifier => format!("metric identifier {}", GoQuoted(text)),
            Kind::Number => format!("number {}", shortened(text)),
            Kind::Duration => format!("duration {}", shortened(text)),
            Kind::String => format!("string {}", shortened(text)),
            Kind::Keyword(_) => format!("<{text}>"),
            Kind::Binary(_) | Kind::At | Kind::MatchRegex | Kind::MatchNotRegex => format!("<op:{text}>"),
            Kind::Aggregate(_) => format!("<aggr:{text}>"),
            _ => shortened(text),
        }
    }
}

/// Quotes a text. A text of more than ten bytes is cut after ten characters and gets an ellipsis.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(10) {
        Some((end, _)) => format!("{}...", GoQuoted(&text[..end])),
        None if text.len() > 10 => format!("{}...", GoQuoted(text)),
        None => GoQuoted(text).to_string(),
    }
}

/// Length of `count_values`, in bytes.
const LONGEST_KEYWORD: usize = 12;

fn keyword(lower: &[u8]) -> Option<Kind> {
    use Kind::{Aggregate, Binary, Keyword as Key, Preprocessor as Pre};
    Some(match lower {
        b"and" => Binary(BinaryOp::And),
        b"or" => Binary(BinaryOp::Or),
        b"unless" => Binary(BinaryOp::Unless),
        b"atan2" => Binary(BinaryOp::Atan2),
        b"sum" => Aggregate(AggregateOp::Sum),
        b"avg" => Aggregate(AggregateOp::Avg),
        b"count" => Aggregate(AggregateOp::Count),
        b"min" => Aggregate(AggregateOp::Min),
        b"max" => Aggregate(AggregateOp::Max),
        b"group" => Aggregate(AggregateOp::Group),
        b"stddev" => Aggregate(AggregateOp::Stddev),
        b"stdvar" => Aggregate(AggregateOp::Stdvar),
        b"topk" => Aggregate(AggregateOp::Topk),
        b"bottomk" => Aggregate(AggregateOp::Bottomk),
        b"count_values" => Aggregate(AggregateOp::CountValues),
        b"quantile" => Aggregate(AggregateOp::Quantile),
        b"limitk" => Aggregate(AggregateOp::Limitk),
        b"limit_ratio" => Aggregate(AggregateOp::LimitRatio),
        b"offset" => Key(Keyword::Offset),
        b"smoothed" => Key(Keyword::Smoothed),
        b"anchored" => Key(Keyword::Anchored),
        b"by" => Key(Keyword::By),
        b"without" => Key(Keyword::Without),
        b"on" => Key(Keyword::On),
        b"ignoring" => Key(Keyword::Ignoring),
        b"group_left" => Key(Keyword::GroupLeft),
        b"group_right" => Key(Keyword::GroupRight),
        b"fill" => Key(Keyword::Fill),
        b"fill_left" => Key(Keyword::FillLeft),
        b"fill_right" => Key(Keyword::FillRight),
        b"bool" => Key(Keyword::Bool),
        b"start" => Pre(Preprocessor::Start),
        b"end" => Pre(Preprocessor::End),
        b"step" => Pre(Preprocessor::Step),
        b"range" => Pre(Preprocessor::Range),
        b"max_of" => Pre(Preprocessor::MaxOf),
        b"min_of" => Pre(Preprocessor::MinOf),
        b"inf" | b"nan" => Kind::Number,
        _ => return None,
    })
}
