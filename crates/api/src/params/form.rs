//! Forms in the body of a request: URL-encoded, or `multipart/form-data` as `curl -F` sends it.

use axum::http::{HeaderMap, header};

use super::{MAX_PARAMETERS, check_count, too_many};

/// The encoding of a form.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FormType {
    UrlEncoded,
    Multipart { boundary: String },
}

impl FormType {
    /// The encoding that the headers name; `None` if the body is not a form. Media types are case-insensitive.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let (media, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        let media = media.trim();
        if media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Some(FormType::UrlEncoded);
        }
        let boundary = parameter(parameters, "boundary").filter(|boundary| !boundary.is_empty());
        let boundary = boundary.filter(|_| media.eq_ignore_ascii_case("multipart/form-data"))?;
        Some(FormType::Multipart { boundary })
    }

    /// Reads the fields of a form. Files are skipped, because no endpoint takes any.
    ///
    /// # Errors
    /// The parts are malformed.
    pub(super) fn read(&self, body: &[u8]) -> Result<Vec<(String, String)>, String> {
        match self {
            FormType::UrlEncoded => {
                check_count(body)?;
                Ok(url::form_urlencoded::parse(body).into_owned().collect())
            }
            FormType::Multipart { boundary } => multipart(body, boundary),
        }
    }
}

fn multipart(body: &[u8], boundary: &str) -> Result<Vec<(String, String)>, String> {
    let delimiter = format!("\r\n--{boundary}");
    let first = &delimiter.as_bytes()[2..];
    let finder = memchr::memmem::Finder::new(delimiter.as_bytes());
    // A line break precedes every delimiter, except one at the start of the body.
    let mut rest = match body.strip_prefix(first) {
        Some(rest) => rest,
        None => {
            let at = finder.find(body).ok_or("multipart: the boundary does not occur in the body")?;
            &body[at + delimiter.len()..]
        }
    };
    let mut fields = Vec::new();
    while !rest.starts_with(b"--") {
        let end = finder.find(rest).ok_or("multipart: unexpected end of the form")?;
        fields.extend(field(&rest[..end])?);
        if fields.len() > MAX_PARAMETERS {
            return Err(too_many());
        }
        rest = &rest[end + delimiter.len()..];
    }
    Ok(fields)
}

/// The name and value of a part, given without its delimiter; `None` for a file.
fn field(part: &[u8]) -> Result<Option<(String, String)>, String> {
    let head_end = memchr::memmem::find(part, b"\r\n\r\n").ok_or("multipart: a part has no end of its headers")?;
    let head = String::from_utf8_lossy(&part[..head_end]);
    let disposition = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let disposition = disposition.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"));
    let (_, value) = disposition.ok_or("multipart: a part has no Content-Disposition")?;
    let parameters = value.split_once(';').map_or("", |(_, parameters)| parameters);
    if parameter(parameters, "filename").is_some() {
        return Ok(None);
    }
    let text = String::from_utf8_lossy(&part[head_end + 4..]).into_owned();
    Ok(parameter(parameters, "name").map(|name| (name, text)))
}

/// The value of a parameter in `a=b; c="d;e"`.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text;
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_start_matches([';', ' ', '\t']).trim_end();
        let (value, next) = match after.trim_start().strip_prefix('"') {
            Some(quoted) => quoted_value(quoted)?,
            None => {
                let (value, next) = after.split_once(';').unwrap_or((after, ""));
                (value.trim().to_string(), next)
            }
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = next;
    }
}

/// The text up to the closing quote, and what follows it.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form_type(content_type: &str) -> Option<FormType> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
        FormType::of(&headers)
    }

    fn multipart_form(body: &str) -> Result<Vec<(String, String)>, String> {
        form_type("multipart/form-data; boundary=b").unwrap().read(body.as_bytes())
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn media_types_are_recognised_in_any_case() {
        assert_eq!(form_type("Application/X-WWW-Form-URLEncoded; charset=UTF-8"), Some(FormType::UrlEncoded));
        let boundary = "a;b".to_string();
        assert_eq!(form_type("MULTIPART/Form-Data; x=1; Boundary=\"a;b\""), Some(FormType::Multipart { boundary }));
        for other in ["application/json", "application/x-www-form-urlencodedx", "multipart/form-data"] {
            assert_eq!(form_type(other), None, "{other}");
        }
    }

    #[test]
    fn the_fields_of_a_multipart_form_are_read() {
        let body = "preamble\r\n--b\r\nContent-Disposition: form-data; name=\"match[]\"\r\n\r\nup\r\n--b\r\n\
                    content-disposition: form-data; name=query\r\nContent-Type: text/plain\r\n\r\na\r\nb\r\n--b--\r\n";
        assert_eq!(multipart_form(body), Ok(vec![pair("match[]", "up"), pair("query", "a\r\nb")]));
        let at_once = &body["preamble\r\n".len()..];
        assert_eq!(multipart_form(at_once).map(|fields| fields.len()), Ok(2));
    }

    #[test]
    fn files_are_skipped() {
        let body = "--b\r\nContent-Disposition: form-data; name=f; filename=\"x\"\r\n\r\nup\r\n--b--";
        assert_eq!(multipart_form(body), Ok(Vec::new()));
    }

    #[test]
    fn a_form_of_very_many_fields_is_refused() {
        let form = FormType::UrlEncoded;
        assert_eq!(
            form.read("&a".repeat(MAX_PARAMETERS - 1).as_bytes()).map(|fields| fields.len()),
            Ok(MAX_PARAMETERS - 1)
        );
        let error = form.read("&a".repeat(MAX_PARAMETERS).as_bytes()).unwrap_err();
        assert_eq!(error, "there are more than 10000 parameters");
        let field = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n";
        assert_eq!(multipart_form(&(field.repeat(MAX_PARAMETERS + 1) + "--b--")), Err(error));
    }

    #[test]
    fn malformed_multipart_forms_are_errors() {
        for body in ["", "--b", "--b\r\n\r\n\r\nx", "--b\r\nno head\r\n--b--", "--b\r\nA: b\r\n\r\nx\r\n--b--"] {
            assert!(multipart_form(body).is_err(), "{body:?}");
        }
    }
}
