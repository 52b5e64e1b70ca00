//! Go's `printf` for the values of templates.

use super::value::Value;
use crate::strconv::{GoFloat, GoQuoted, format_exponential, format_fixed, format_general};

/// The largest width and precision of a directive, so that a template cannot ask for endless padding.
const MAX_WIDTH: usize = 1000;

/// A `%` directive: its flags, width and precision.
#[derive(Default)]
struct Directive {
    minus: bool,
    plus: bool,
    zero: bool,
    space: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

/// Formats values. Knows the verbs v, s, q, d, f, F, e, g, t, x, X, o, b, c, U and T with flags, width and precision.
pub(super) fn printf(format: &str, args: &[Value]) -> String {
    let mut out = String::with_capacity(format.len());
    let mut args = args.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut directive = Directive::default();
        while let Some(flag) = chars.next_if(|c| "-+0 #".contains(*c)) {
            match flag {
                '-' => directive.minus = true,
                '+' => directive.plus = true,
                '0' => directive.zero = true,
                ' ' => directive.space = true,
                _ => directive.sharp = true,
            }
        }
        directive.width = number(&mut chars).unwrap_or(0);
        if chars.next_if_eq(&'.').is_some() {
            directive.precision = Some(number(&mut chars).unwrap_or(0));
        }
        match chars.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) => match args.next() {
                None => out.push_str(&format!("%!{verb}(MISSING)")),
                Some(arg) => out.push_str(&directive.print(verb, arg)),
            },
        }
    }
    let surplus: Vec<_> = args.map(|arg| format!("{}={arg}", arg.type_name())).collect();
    if !surplus.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", surplus.join(", ")));
    }
    out
}

fn number(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let mut value = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        chars.next();
        value = Some((value.unwrap_or(0) * 10 + digit as usize).min(MAX_WIDTH));
    }
    value
}

impl Directive {
    fn print(&self, verb: char, arg: &Value) -> String {
        let bad = || format!("%!{verb}({}={arg})", arg.type_name());
        let text = match (verb, arg) {
            ('v', Value::Float(v)) => self.float('g', *v),
            ('T', _) => arg.type_name().to_string(),
            ('v', Value::Nil) => "<nil>".into(),
            ('v', Value::Int(n)) => n.to_string(),
            ('U', Value::Int(n)) => format!("U+{n:04X}"),
            ('d', Value::Int(n)) => self.signed(*n >= 0, n.unsigned_abs().to_string()),
            ('v', _) => arg.to_string(),
            ('s', Value::Bool(_) | Value::Int(_) | Value::Float(_)) => bad(),
            ('s', _) => self.cut(arg.to_string()),
            ('q', Value::Text(text)) => GoQuoted(text).to_string(),
            ('x', Value::Text(text)) => text.bytes().map(|b| format!("{b:02x}")).collect(),
            ('X', Value::Text(text)) => text.bytes().map(|b| format!("{b:02X}")).collect(),
            ('x', Value::Int(n)) => self.signed(*n >= 0, format!("{:x}", n.unsigned_abs())),
            ('X', Value::Int(n)) => self.signed(*n >= 0, format!("{:X}", n.unsigned_abs())),
            ('o', Value::Int(n)) => self.signed(*n >= 0, format!("{:o}", n.unsigned_abs())),
            ('b', Value::Int(n)) => self.signed(*n >= 0, format!("{:b}", n.unsigned_abs())),
            ('c', Value::Int(n)) => {
                u32::try_from(*n).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER).to_string()
            }
            ('t', Value::Bool(b)) => b.to_string(),
            ('e' | 'f' | 'F' | 'g', Value::Float(v)) => self.float(verb, *v),
            ('d', Value::Duration(ns)) => self.signed(*ns >= 0, ns.unsigned_abs().to_string()),
            _ => bad(),
        };
        self.pad(text, matches!(arg, Value::Int(_) | Value::Float(_)))
    }

    fn float(&self, verb: char, value: f64) -> String {
        let text = match (verb, self.precision) {
            ('e', digits) => format_exponential(value.abs(), digits.unwrap_or(6)),
            ('g', Some(digits)) => format_general(value.abs(), digits),
            ('g', None) => GoFloat(value.abs()).to_string(),
            (_, digits) => format_fixed(value.abs(), digits.unwrap_or(6)),
        };
        match value.is_finite() {
            true => self.signed(!value.is_sign_negative(), text),
            false => GoFloat(value).to_string(),
        }
    }

    fn signed(&self, positive: bool, digits: String) -> String {
        let sign = match (positive, self.plus, self.space) {
            (false, ..) => "-",
            (true, true, _) => "+",
            (true, false, true) => " ",
            _ => "",
        };
        format!("{sign}{digits}")
    }

    fn cut(&self, text: String) -> String {
        match self.precision {
            Some(most) => text.chars().take(most).collect(),
            None => text,
        }
    }

    fn pad(&self, text: String, numeric: bool) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        if missing == 0 {
            return text;
        }
        if self.minus {
            return text + &" ".repeat(missing);
        }
        if self.zero && numeric {
            let sign = text.len() - text.trim_start_matches(['-', '+', ' ']).len();
            return format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..]);
        }
        " ".repeat(missing) + &text
    }
}
