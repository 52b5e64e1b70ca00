//! Numbers, times and durations in the forms in which Go prints them, and `printf`.

use pharos_gocompat::GoFloat;
use pharos_gocompat::GoQuoted;

use super::value::Data;

/// Most bytes that a width or a precision adds.
const MAX_WIDTH: usize = 1000;

/// A float with `digits` significant digits at most: `%.4g`.
pub(super) fn general(value: f64, digits: usize) -> String {
    if !value.is_finite() || value == 0.0 {
        return GoFloat(value).to_string();
    }
    let digits = digits.max(1);
    let scientific = format!("{value:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        return with_exponent(&trim(mantissa), exponent);
    }
    trim(&format!("{value:.*}", (digits as i32 - 1 - exponent).max(0) as usize))
}

fn with_exponent(mantissa: &str, exponent: i32) -> String {
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// `%.{digits}e`.
fn exponential(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return GoFloat(value).to_string();
    }
    let text = format!("{value:.digits$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    with_exponent(mantissa, exponent.parse().unwrap_or(0))
}

/// `%.{digits}f`.
fn fixed(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { GoFloat(value).to_string() }
}

/// Nanoseconds since the epoch as `2006-01-02 15:04:05.5 +0000 UTC`.
pub(super) fn time(ns: i64) -> String {
    let Ok(moment) = jiff::Timestamp::from_nanosecond(i128::from(ns)) else { return ns.to_string() };
    let text = moment.to_string();
    let (date, rest) = text.split_once('T').unwrap_or((&text, ""));
    format!("{date} {} +0000 UTC", rest.trim_end_matches('Z'))
}

/// Nanoseconds as `1h2m3.5s`, `250ms`.
pub(super) fn duration(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let total = ns.unsigned_abs();
    if total == 0 {
        return "0s".into();
    }
    if total < 1_000_000_000 {
        let (scale, unit) = match total {
            0..1_000 => (1.0, "ns"),
            1_000..1_000_000 => (1e3, "µs"),
            _ => (1e6, "ms"),
        };
        return format!("{sign}{}{unit}", total as f64 / scale);
    }
    let (seconds, fraction) = (total / 1_000_000_000, total % 1_000_000_000);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let digits = format!("{fraction:09}");
    let digits = digits.trim_end_matches('0');
    let seconds = if digits.is_empty() { format!("{seconds}s") } else { format!("{seconds}.{digits}s") };
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}"),
        (0, _) => format!("{sign}{minutes}m{seconds}"),
        _ => format!("{sign}{hours}h{minutes}m{seconds}"),
    }
}

/// One `%` directive.
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

/// `printf`: the verbs v, s, q, d, f, F, e, g, t, x, X, o, b, c, U and T, with flags, width and precision.
pub(super) fn printf(format: &str, args: &[Data]) -> String {
    let mut out = String::with_capacity(format.len());
    let (mut args, mut chars) = (args.iter(), format.chars().peekable());
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
    fn print(&self, verb: char, arg: &Data) -> String {
        let bad = || format!("%!{verb}({}={arg})", arg.type_name());
        let text = match (verb, arg) {
            ('v', Data::Float(v)) => self.float('g', *v),
            ('T', _) => arg.type_name().to_string(),
            ('v', Data::Nil) => "<nil>".into(),
            ('v', Data::Int(n)) => n.to_string(),
            ('U', Data::Int(n)) => format!("U+{n:04X}"),
            ('d', Data::Int(n)) => self.signed(*n >= 0, n.unsigned_abs().to_string()),
            ('v', _) => arg.to_string(),
            ('s', Data::Bool(_) | Data::Int(_) | Data::Float(_)) => bad(),
            ('s', _) => self.cut(arg.to_string()),
            ('q', Data::Text(text)) => GoQuoted(text).to_string(),
            ('x', Data::Text(text)) => text.bytes().map(|b| format!("{b:02x}")).collect(),
            ('X', Data::Text(text)) => text.bytes().map(|b| format!("{b:02X}")).collect(),
            ('x', Data::Int(n)) => self.signed(*n >= 0, format!("{:x}", n.unsigned_abs())),
            ('X', Data::Int(n)) => self.signed(*n >= 0, format!("{:X}", n.unsigned_abs())),
            ('o', Data::Int(n)) => self.signed(*n >= 0, format!("{:o}", n.unsigned_abs())),
            ('b', Data::Int(n)) => self.signed(*n >= 0, format!("{:b}", n.unsigned_abs())),
            ('c', Data::Int(n)) => {
                u32::try_from(*n).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER).to_string()
            }
            ('t', Data::Bool(b)) => b.to_string(),
            ('e' | 'f' | 'F' | 'g', Data::Float(v)) => self.float(verb, *v),
            ('d', Data::Duration(ns)) => self.signed(*ns >= 0, ns.unsigned_abs().to_string()),
            _ => bad(),
        };
        self.pad(text, matches!(arg, Data::Int(_) | Data::Float(_)))
    }

    fn float(&self, verb: char, value: f64) -> String {
        let text = match (verb, self.precision) {
            ('e', digits) => exponential(value.abs(), digits.unwrap_or(6)),
            ('g', Some(digits)) => general(value.abs(), digits),
            ('g', None) => GoFloat(value.abs()).to_string(),
            (_, digits) => fixed(value.abs(), digits.unwrap_or(6)),
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
