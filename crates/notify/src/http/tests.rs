use super::*;

fn response(status: u16, body: &str) -> HttpResponse {
    HttpResponse { status, headers: HeaderMap::new(), body: body.as_bytes().to_vec() }
}

#[test]
fn any_status_2xx_is_success() {
    assert_eq!(check(&response(204, ""), &[], quoted), Ok(()));
}

#[test]
fn server_errors_and_named_statuses_are_worth_another_attempt() {
    let error = check(&response(503, "down"), &[], quoted).unwrap_err();
    let expected = NotifyError::temporary(FailureReason::ServerError, "unexpected status code 503: down");
    assert_eq!(error, expected);
    assert!(check(&response(429, ""), &[429], quoted).unwrap_err().retry);
    let error = check(&response(429, ""), &[], quoted).unwrap_err();
    assert_eq!(error, NotifyError::permanent(FailureReason::RateLimited, "unexpected status code 429"));
}

#[test]
fn errors_quote_the_beginning_of_an_answer() {
    let long = "x".repeat(100_000);
    assert!(check(&response(400, &long), &[], quoted).unwrap_err().message.len() < 5000);
}

#[test]
fn a_service_asks_to_wait_in_seconds_or_until_a_date_by_its_own_clock() {
    let now = Timestamp::from_second(0).unwrap();
    let wait = |pairs: &[(HeaderName, &'static str)]| {
        let headers = pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        retry_after(&headers.collect(), now)
    };
    assert_eq!(wait(&[(RETRY_AFTER, "7")]), Some(Duration::from_secs(7)));
    assert_eq!(wait(&[(RETRY_AFTER, "-7")]), None);
    assert_eq!(wait(&[(RETRY_AFTER, "soon")]), None);
    assert_eq!(wait(&[]), None);
    let dates = [(RETRY_AFTER, "Wed, 21 Oct 2015 07:28:09 GMT"), (DATE, "Wed, 21 Oct 2015 07:28:00 GMT")];
    assert_eq!(wait(&dates), Some(Duration::from_secs(9)));
}
