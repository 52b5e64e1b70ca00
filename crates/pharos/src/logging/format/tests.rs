//! Log lines, checked with a small logfmt reader.

use std::sync::Mutex;

use pharos_model::clock::ManualClock;
use proptest::prelude::*;
use tracing_subscriber::layer::SubscriberExt;

use super::*;

const TIME_MS: i64 = 1_795_234_722_408;

fn line<'a>(message: &'a str, fields: &'a [(&'static str, Value)]) -> Line<'a> {
    Line { time_ms: TIME_MS, level: "INFO", source: Some(("wal.rs", 120)), message, fields }
}

fn logfmt(line: &Line<'_>) -> String {
    let mut out = String::new();
    line.write_logfmt(&mut out).unwrap();
    out
}

#[test]
fn lines_look_like_those_of_prometheus() {
    let fields = [
        ("segments", Value::Plain("3".into())),
        ("err", Value::Text("a=\"b\"\nc".into())),
        ("dir", Value::Text("data/wal".into())),
        ("empty", Value::Text(String::new())),
        ("took", Value::Text("1.5s µ".into())),
    ];
    assert_eq!(
        logfmt(&line("replayed the log", &fields)),
        "time=2026-11-21T04:18:42.408Z level=INFO source=wal.rs:120 msg=\"replayed the log\" segments=3 \
         err=\"a=\\\"b\\\"\\nc\" dir=data/wal empty=\"\" took=\"1.5s µ\"\n"
    );
    let mut json = String::new();
    line("replayed", &fields[..2]).write_json(&mut json).unwrap();
    assert_eq!(
        json,
        "{\"time\":\"2026-11-21T04:18:42.408Z\",\"level\":\"INFO\",\"source\":\"wal.rs:120\",\"msg\":\"replayed\",\
         \"segments\":3,\"err\":\"a=\\\"b\\\"\\nc\"}\n"
    );
}

#[test]
fn extreme_times_are_printed() {
    for time_ms in [i64::MAX, i64::MIN, -1, 253_402_300_799_999] {
        let text = logfmt(&Line { time_ms, ..line("x", &[]) });
        assert!(text.starts_with("time="), "{text}");
    }
}

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn events_become_lines() {
    for (format, expected) in [
        (
            LogFormat::Logfmt,
            "msg=\"block shipped\" tenant=anonymous bytes=42 late=true ratio=0.5 odd=NaN error=\"disk full\"\n",
        ),
        (
            LogFormat::Json,
            "\"msg\":\"block shipped\",\"tenant\":\"anonymous\",\"bytes\":42,\"late\":true,\"ratio\":0.5,\"odd\":\"NaN\",\
             \"error\":\"disk full\"}\n",
        ),
    ] {
        let captured = Captured::default();
        let writer = captured.clone();
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .event_format(EventFormat { format, clock: Arc::new(ManualClock::at(TIME_MS)) });
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            let error = std::io::Error::other("disk full");
            let tenant = pharos_model::TenantId::default();
            tracing::warn!(%tenant, bytes = 42, late = true, ratio = 0.5, odd = f64::NAN, %error, "block {}", "shipped");
        });
        let text = String::from_utf8(captured.0.lock().unwrap().clone()).unwrap();
        assert!(text.ends_with(expected), "{text}");
        assert!(text.contains("tests.rs:") && text.contains("WARN") && text.contains("2026-11-21T04:18:42.408Z"));
    }
}

/// Reads `key=value` pairs and unquotes values.
fn read(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_end_matches('\n');
    while let Some((key, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            None => after.split_once(' ').map_or((after.to_string(), ""), |(v, after)| (v.to_string(), after)),
            Some(quoted) => {
                let mut escaped = false;
                let is_end = |c: char| {
                    let ends = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    ends
                };
                let end = quoted.find(is_end).unwrap();
                (unquote(&quoted[..end]), quoted[end + 1..].strip_prefix(' ').unwrap_or(""))
            }
        };
        pairs.push((key.to_string(), value));
        rest = after;
    }
    pairs
}

fn unquote(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let escape = rest.next().unwrap();
        let mut hex = |digits: usize| {
            let code: String = rest.by_ref().take(digits).collect();
            char::from_u32(u32::from_str_radix(&code, 16).unwrap()).unwrap()
        };
        out.push(match escape {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            'x' => hex(2),
            'u' => hex(4),
            'U' => hex(8),
            c => c,
        });
    }
    out
}

proptest! {
    #[test]
    fn any_text_is_one_line_and_can_be_read_back(message: String, value: String) {
        let fields = [("value", Value::Text(value.clone()))];
        let text = logfmt(&line(&message, &fields));
        prop_assert_eq!(text.matches('\n').count(), 1);
        prop_assert!(!text.contains('\r'));
        let pairs = read(&text);
        let expected = [("msg".to_string(), message), ("value".to_string(), value)];
        prop_assert_eq!(&pairs[3..], &expected[..]);
    }

    #[test]
    fn any_text_becomes_valid_json(message: String, value: String) {
        let mut text = String::new();
        let fields = [("value", Value::Text(value.clone())), ("n", Value::Plain("-1".into()))];
        line(&message, &fields).write_json(&mut text).unwrap();
        let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(&parsed["msg"], &message);
        prop_assert_eq!(&parsed["value"], &value);
        prop_assert_eq!(&parsed["n"], -1);
    }
}
