//! The UTF-8 syntax: `{name="value", "another name"=~"value"}`, with optional braces.

use pharos_gocompat::strconv::unquote;
use pharos_model::MatchOp;

use super::Matcher;
use super::lexer::{Kind, Lexer, Token};

const END_OF_INPUT: &str = "end of input";

/// Parses any number of matchers.
pub(super) fn matchers(input: &str) -> Result<Vec<Matcher>, String> {
    let mut lexer = Lexer::new(input);
    let mut matchers = Vec::new();
    let Some(first) = lexer.peek()? else { return Ok(matchers) };
    let has_brace = first.kind == Kind::OpenBrace;
    if has_brace {
        lexer.next()?;
    }
    let mut is_closing = match lexer.peek()? {
        Some(token) => token.kind == Kind::CloseBrace,
        None => true,
    };
    while !is_closing {
        matchers.push(matcher(&mut lexer)?);
        is_closing = match peek_one_of(&mut lexer, &[Kind::Comma, Kind::CloseBrace], "expected a comma or close brace")?
        {
            Some(Kind::Comma) => {
                lexer.next()?;
                let expected = "expected a matcher or close brace after comma";
                let next = peek_one_of(&mut lexer, &[Kind::CloseBrace, Kind::Unquoted, Kind::Quoted], expected)?;
                matches!(next, None | Some(Kind::CloseBrace))
            }
            _ => true,
        };
    }
    close(&mut lexer, has_brace)?;
    Ok(matchers)
}

/// The kind of the next token, which must be one of `kinds`; none at the end.
fn peek_one_of(lexer: &mut Lexer<'_>, kinds: &[Kind], expected: &str) -> Result<Option<Kind>, String> {
    match lexer.peek().map_err(|error| format!("{error}: {expected}"))? {
        None => Ok(None),
        Some(token) if kinds.contains(&token.kind) => Ok(Some(token.kind)),
        Some(token) => Err(format!("{}: {expected}", unexpected(token))),
    }
}

fn unexpected(token: Token<'_>) -> String {
    format!("{}:{}: unexpected {}", token.start, token.end, token.text)
}

/// The next token, which must be one of `kinds`.
fn expect<'i>(lexer: &mut Lexer<'i>, kinds: &[Kind], expected: &str) -> Result<Token<'i>, String> {
    match lexer.peek().map_err(|error| format!("{error}: {expected}"))? {
        None => Err(format!("{END_OF_INPUT}: {expected}")),
        Some(token) if !kinds.contains(&token.kind) => Err(format!("{}: {expected}", unexpected(token))),
        Some(token) => lexer.next().map(|_| token),
    }
}

fn matcher(lexer: &mut Lexer<'_>) -> Result<Matcher, String> {
    let name = expect(lexer, &[Kind::Quoted, Kind::Unquoted], "expected label name")?;
    let name = text(name)?;
    let operators = [Kind::Equal, Kind::NotEqual, Kind::Regex, Kind::NotRegex];
    let op = match expect(lexer, &operators, "expected an operator such as '=', '!=', '=~' or '!~'")?.kind {
        Kind::NotEqual => MatchOp::NotEqual,
        Kind::Regex => MatchOp::Regex,
        Kind::NotRegex => MatchOp::NotRegex,
        _ => MatchOp::Equal,
    };
    let value = expect(lexer, &[Kind::Unquoted, Kind::Quoted], "expected label value")?;
    Matcher::new(op, &name, &text(value)?).map_err(|error| format!("failed to create matcher: {error}"))
}

/// Checks what is behind the last matcher.
fn close(lexer: &mut Lexer<'_>, has_brace: bool) -> Result<(), String> {
    let column = lexer.column();
    match lexer.next()? {
        Some(token) if has_brace && token.kind == Kind::CloseBrace => {}
        Some(token) if token.kind == Kind::CloseBrace => {
            return Err(format!("0:{}: }}: expected opening brace", token.end));
        }
        Some(token) if has_brace => return Err(format!("0:{column}: {}: expected close brace", unexpected(token))),
        None if has_brace => return Err(format!("0:{column}: {END_OF_INPUT}: expected close brace")),
        Some(token) => return Err(behind_the_end(token)),
        None => return Ok(()),
    }
    match lexer.next().map_err(|error| format!("{error}: expected end of input"))? {
        Some(token) => Err(behind_the_end(token)),
        None => Ok(()),
    }
}

fn behind_the_end(token: Token<'_>) -> String {
    format!("{}:{}: {}: expected end of input", token.start, token.end, token.text)
}

/// The text that a name or value stands for.
fn text(token: Token<'_>) -> Result<String, String> {
    if token.kind != Kind::Quoted {
        return Ok(token.text.to_string());
    }
    let invalid = || format!("{}:{}: {}: invalid input", token.start, token.end, token.text);
    if !is_go_literal(token.text) {
        return Err(invalid());
    }
    String::from_utf8(unquote(token.text)).map_err(|_| invalid())
}

/// Whether Go's `strconv.Unquote` accepts a text in double quotes.
fn is_go_literal(quoted: &str) -> bool {
    let mut rest = quoted[1..quoted.len() - 1].chars();
    while let Some(c) = rest.next() {
        if c == '\n' {
            return false;
        }
        if c != '\\' {
            continue;
        }
        let is_valid = match rest.next() {
            Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '\\' | '"') => true,
            Some('x') => number(&mut rest, 2, 16).is_some(),
            Some('u') => number(&mut rest, 4, 16).is_some_and(|code| char::from_u32(code).is_some()),
            Some('U') => number(&mut rest, 8, 16).is_some_and(|code| char::from_u32(code).is_some()),
            Some(first @ '0'..='7') => {
                let digits: String = [first].into_iter().chain(rest.by_ref().take(2)).collect();
                digits.len() == 3 && u8::from_str_radix(&digits, 8).is_ok()
            }
            _ => false,
        };
        if !is_valid {
            return false;
        }
    }
    true
}

/// Takes a number of exactly this many digits.
fn number(rest: &mut std::str::Chars<'_>, digits: usize, base: u32) -> Option<u32> {
    let text: String = rest.by_ref().take(digits).collect();
    let is_complete = text.len() == digits && text.chars().all(|c| c.is_digit(base));
    is_complete.then(|| u32::from_str_radix(&text, base).ok()).flatten()
}
