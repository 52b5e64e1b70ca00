//! Version 4 of the signatures of AWS.

use std::fmt::Write as _;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue};
use jiff::Timestamp;
use ring::{digest, hmac};

use super::credentials::Credentials;
use crate::config::ApiUrl;
use crate::error::NotifyError;
use crate::http::secret_header;

/// The content type of all requests.
pub(super) const CONTENT_TYPE: &str = "application/x-www-form-urlencoded";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What a signature is valid for.
pub(super) struct Scope<'a> {
    pub(super) service: &'a str,
    pub(super) region: &'a str,
    pub(super) now: Timestamp,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn sha256(text: &str) -> String {
    hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
}

fn sign(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

impl Scope<'_> {
    /// The headers that sign a post of a form.
    pub(super) fn headers(
        &self,
        url: &ApiUrl,
        body: &str,
        credentials: &Credentials,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, NotifyError> {
        let time = self.now.strftime("%Y%m%dT%H%M%SZ").to_string();
        let date = &time[..8];
        let token = credentials.token.reveal();
        let mut signed = vec![("content-type", CONTENT_TYPE), ("host", url.host()), ("x-amz-date", &time)];
        if !token.is_empty() {
            signed.push(("x-amz-security-token", token));
        }
        let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let lines: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let request = format!("POST\n{}\n\n{lines}\n{names}\n{}", url.path(), sha256(body));
        let scope = format!("{date}/{}/{}/aws4_request", self.region, self.service);
        let text = format!("{ALGORITHM}\n{time}\n{scope}\n{}", sha256(&request));
        let first = format!("AWS4{}", credentials.secret_key.reveal());
        let key = [date, self.region, self.service, "aws4_request"]
            .iter()
            .fold(first.into_bytes(), |key, part| sign(&key, part).as_ref().to_vec());
        let signature = hex(sign(&key, &text).as_ref());
        let access_key = &credentials.access_key;
        let authorization =
            format!("{ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}");
        let mut headers = vec![
            secret_header(AUTHORIZATION, &authorization)?,
            secret_header(HeaderName::from_static("x-amz-date"), &time)?,
        ];
        if !token.is_empty() {
            headers.push(secret_header(HeaderName::from_static("x-amz-security-token"), token)?);
        }
        Ok(headers)
    }
}

#[cfg(test)]
mod tests {
    use pharos_config::Secret;

    use super::*;

    #[test]
    fn signatures_follow_the_rules_of_aws() {
        let url = ApiUrl::parse("https://h.example:8080/x/").unwrap();
        let (secret_key, token) = (Secret::new("secret"), Secret::new("tok"));
        let credentials = Credentials { access_key: "AK".into(), secret_key, token };
        let scope = Scope { service: "sns", region: "eu-west-1", now: "2026-03-07T04:05:00Z".parse().unwrap() };
        let headers = scope.headers(&url, "Action=Publish", &credentials).unwrap();
        // Computed with Python's hmac by the steps of the documentation of AWS.
        let signature = "2afdabfd3435a8ff6e63f1f1c03d901fcf2d6adf45ec9950abe971f0d2f9823a";
        assert!(
            headers[0].1.to_str().unwrap().ends_with(&format!("Signature={signature}")),
            "{:?}",
            headers[0].1.to_str()
        );
        assert_eq!(headers[2].0, "x-amz-security-token");
    }
}
