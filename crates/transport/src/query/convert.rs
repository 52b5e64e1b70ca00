//! Converts requests, responses and errors of the read path between the wire and the model.
//!
//! Errors keep their kind: a status carries an encoded failure, from which the client restores the original error.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pharos_model::fragment::{FragmentForm, FragmentStats, Note, NoteExtra, Steps};
use pharos_model::matcher::MatcherError;
use pharos_model::{Fragment, FragmentError, MatchOp, Matcher, SelectError, ShardSet, TenantId, TimeRange};
use prost::Message;
use tonic::{Code, Status};

use super::completeness::Completeness;
use super::error::{ReadError, Refused};
use super::source::{ReadView, Scope};
use crate::query_v1 as wire;
use crate::query_v1::evaluate_request::Form;
use crate::query_v1::failure::Kind;

/// Largest message, bytes.
pub(super) const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// Encodes an error as a status whose details hold a `Failure` message.
pub(super) fn status_of(error: &ReadError) -> Status {
    let (kind, code, limit) = match error {
        ReadError::Failed(failed) => kind_of(failed),
        ReadError::Refused(_) => (Kind::Refused, Code::FailedPrecondition, 0),
        ReadError::Unreachable(_) => (Kind::Storage, Code::Unavailable, 0),
    };
    let (shards, complete) = match error {
        ReadError::Refused(refused) => (refused.shards.iter().collect(), refused.complete.map(Into::into)),
        _ => (Vec::new(), None),
    };
    let message = error.to_string();
    let failure = wire::Failure { kind: kind.into(), message: message.clone(), limit, shards, complete };
    Status::with_details(code, message, failure.encode_to_vec().into())
}

fn kind_of(error: &FragmentError) -> (Kind, Code, u64) {
    match error {
        FragmentError::Select(SelectError::Cancelled) => (Kind::Cancelled, Code::Cancelled, 0),
        FragmentError::Select(SelectError::Timeout(after)) => (Kind::Timeout, Code::DeadlineExceeded, millis(*after)),
        FragmentError::Select(SelectError::Memory { limit }) => (Kind::Memory, Code::ResourceExhausted, *limit),
        // The caller learns the reason, not whose limit it was: that of this node says nothing about its own.
        FragmentError::Select(SelectError::Full(_)) => (Kind::Limit, Code::ResourceExhausted, 0),
        FragmentError::Select(SelectError::Series { limit }) => (Kind::Series, Code::ResourceExhausted, *limit as u64),
        FragmentError::Select(SelectError::Storage(_)) => (Kind::Storage, Code::Internal, 0),
        FragmentError::Select(SelectError::Damaged(_)) => (Kind::Damaged, Code::DataLoss, 0),
        FragmentError::TooManySamples => (Kind::Samples, Code::ResourceExhausted, 0),
        FragmentError::Limit(_) => (Kind::Limit, Code::ResourceExhausted, 0),
        FragmentError::Execution(_) => (Kind::Execution, Code::InvalidArgument, 0),
        FragmentError::Inexact(_) => (Kind::Inexact, Code::Unimplemented, 0),
        FragmentError::Unsupported(_) => (Kind::Unsupported, Code::Unimplemented, 0),
    }
}

/// Decodes the error in a status from the node at `address`. A status without details means that the node is
/// unreachable, or that it does not support the call.
pub(super) fn error_of(address: &str, status: &Status) -> ReadError {
    let failure = match wire::Failure::decode(status.details()) {
        Ok(failure) if !failure.message.is_empty() => failure,
        _ if status.code() == Code::Unimplemented => {
            return FragmentError::Unsupported(format!("node {address}: {}", status.message())).into();
        }
        _ => return ReadError::Unreachable(format!("node {address}: {}", describe(status))),
    };
    let (message, limit) = (failure.message.clone(), failure.limit);
    match failure.kind() {
        Kind::Storage => SelectError::Storage(message).into(),
        Kind::Damaged => SelectError::Damaged(message).into(),
        Kind::Cancelled => SelectError::Cancelled.into(),
        Kind::Timeout => SelectError::Timeout(Duration::from_millis(limit)).into(),
        Kind::Memory => SelectError::Memory { limit }.into(),
        Kind::Series => SelectError::Series { limit: usize::try_from(limit).unwrap_or(usize::MAX) }.into(),
        Kind::Refused => {
            let shards = failure.shards.iter().copied().collect();
            ReadError::Refused(Refused { shards, reason: message, complete: failure.complete.map(Into::into) })
        }
        Kind::Samples => FragmentError::TooManySamples.into(),
        Kind::Limit => FragmentError::Limit(message).into(),
        Kind::Execution => FragmentError::Execution(message).into(),
        Kind::Inexact => FragmentError::Inexact(message).into(),
        Kind::Unsupported => FragmentError::Unsupported(message).into(),
    }
}

/// Formats a status together with its chain of source errors.
fn describe(status: &Status) -> String {
    let mut text = if status.message().is_empty() { status.code().to_string() } else { status.message().to_string() };
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

/// Converts a duration to whole milliseconds: at least 1 if it is not zero, and `u64::MAX` if it overflows.
pub(super) fn millis(time: Duration) -> u64 {
    match u64::try_from(time.as_millis()) {
        Ok(0) if !time.is_zero() => 1,
        Ok(millis) => millis,
        Err(_) => u64::MAX,
    }
}

/// Decodes the scope and the view of a request.
///
/// # Errors
/// The tenant is invalid, or a shard is repeated or out of range.
pub(super) fn scope_of(asked: &wire::Asked) -> Result<(Scope, ReadView), Status> {
    let tenant = TenantId::new(&asked.tenant).map_err(|e| Status::invalid_argument(e.to_string()))?;
    let set: ShardSet = asked.shards.iter().map(|s| s.shard).collect();
    if set.len() != asked.shards.len() {
        return Err(Status::invalid_argument("a shard is asked for twice, or beyond those that there may be"));
    }
    let shards = (!set.is_empty()).then(|| Arc::new(set));
    let epochs = asked.shards.iter().map(|s| (s.shard, s.epoch)).collect();
    let view = ReadView { incarnation: asked.incarnation, version: asked.version, epochs, deletions: asked.deletions };
    Ok((Scope { tenant, shards, complete_from: asked.complete_from }, view))
}

impl From<Completeness> for wire::CompletenessAnswer {
    fn from(Completeness { from, unflushed_from, version }: Completeness) -> Self {
        wire::CompletenessAnswer { from, unflushed_from, version }
    }
}

impl From<wire::CompletenessAnswer> for Completeness {
    fn from(wire::CompletenessAnswer { from, unflushed_from, version }: wire::CompletenessAnswer) -> Self {
        Completeness { from, unflushed_from, version }
    }
}

pub(super) fn matchers_of(matchers: Vec<wire::Matcher>) -> Result<Vec<Matcher>, Status> {
    let read = |m: wire::Matcher| -> Result<Matcher, MatcherError> {
        let op = match m.operator() {
            wire::Operator::Equal => MatchOp::Equal,
            wire::Operator::NotEqual => MatchOp::NotEqual,
            wire::Operator::Regex => MatchOp::Regex,
            wire::Operator::NotRegex => MatchOp::NotRegex,
        };
        Matcher::new(op, m.name, m.value)
    };
    let matchers: Result<_, MatcherError> = matchers.into_iter().map(read).collect();
    matchers.map_err(|e| Status::invalid_argument(e.to_string()))
}

pub(super) fn write_matchers(matchers: &[Matcher]) -> Vec<wire::Matcher> {
    let write = |m: &Matcher| {
        let operator = match m.op {
            MatchOp::Equal => wire::Operator::Equal,
            MatchOp::NotEqual => wire::Operator::NotEqual,
            MatchOp::Regex => wire::Operator::Regex,
            MatchOp::NotRegex => wire::Operator::NotRegex,
        };
        wire::Matcher { name: m.name.clone(), operator: operator.into(), value: m.value.clone() }
    };
    matchers.iter().map(write).collect()
}

pub(super) fn range_of(range: Option<wire::Range>) -> Result<TimeRange, Status> {
    let range = range.ok_or_else(|| Status::invalid_argument("no range of time"))?;
    Ok(TimeRange::new(range.start, range.end))
}

pub(super) fn write_range(range: TimeRange) -> wire::Range {
    wire::Range { start: range.start, end: range.end }
}

impl From<Steps> for wire::Steps {
    fn from(steps: Steps) -> Self {
        wire::Steps { start: steps.start, end: steps.end, step: steps.step }
    }
}

fn steps_of(steps: Option<wire::Steps>) -> Result<Steps, Status> {
    let steps = steps.ok_or_else(|| Status::invalid_argument("no steps"))?;
    Ok(Steps { start: steps.start, end: steps.end, step: steps.step })
}

pub(super) fn write_fragment(asked: wire::Asked, fragment: &Fragment) -> wire::EvaluateRequest {
    wire::EvaluateRequest {
        asked: Some(asked),
        query: fragment.query.clone(),
        place_start: fragment.place.start as u64,
        place_end: fragment.place.end as u64,
        expressions: Vec::new(),
        form: match fragment.form {
            FragmentForm::Whole => Form::Whole.into(),
            FragmentForm::Partial => Form::Partial.into(),
            FragmentForm::Argument => Form::Argument.into(),
        },
        times: Some(fragment.times.into()),
        steps: Some(fragment.steps.into()),
        lookback_ms: fragment.lookback_ms,
        max_samples: fragment.max_samples,
        max_series: fragment.max_series,
        type_and_unit_labels: fragment.type_and_unit_labels,
        use_start_timestamps: fragment.use_start_timestamps,
        samples_per_step: fragment.samples_per_step,
    }
}

pub(super) fn fragment_of(request: wire::EvaluateRequest) -> Result<Fragment, Status> {
    let place = |byte: u64| usize::try_from(byte).map_err(|_| Status::invalid_argument("a place beyond the query"));
    let form = match request.form() {
        Form::Whole => FragmentForm::Whole,
        Form::Partial => FragmentForm::Partial,
        Form::Argument => FragmentForm::Argument,
        Form::Expressions => {
            let reason = "this version does not evaluate the expressions of earlier ones";
            return Err(status_of(&FragmentError::Unsupported(reason.into()).into()));
        }
    };
    Ok(Fragment {
        place: place(request.place_start)?..place(request.place_end)?,
        query: request.query,
        form,
        times: steps_of(request.times)?,
        steps: steps_of(request.steps)?,
        lookback_ms: request.lookback_ms,
        max_samples: request.max_samples,
        max_series: request.max_series,
        type_and_unit_labels: request.type_and_unit_labels,
        use_start_timestamps: request.use_start_timestamps,
        samples_per_step: request.samples_per_step,
    })
}

pub(super) fn write_summary(notes: &[Note], stats: &FragmentStats) -> wire::Summary {
    let note = |note: &Note| {
        let (count, monotonicity) = match note.extra {
            NoteExtra::None => (0, None),
            NoteExtra::Count(count) => (count, None),
            NoteExtra::Monotonicity { t, buckets, max_diff, count } => {
                let monotonicity = wire::Monotonicity {
                    first_t: t.0,
                    last_t: t.1,
                    lowest_bucket: buckets.0,
                    highest_bucket: buckets.1,
                    max_diff,
                };
                (count, Some(monotonicity))
            }
        };
        wire::Note { text: note.text.clone(), pos: note.pos, count, monotonicity }
    };
    wire::Summary {
        notes: notes.iter().map(note).collect(),
        samples_read: stats.samples_read,
        peak_samples: stats.peak_samples,
        series: stats.series,
        peak_bytes: stats.peak_bytes,
        bytes_read: stats.bytes_read,
        requests: stats.requests,
        queryable_samples: stats.queryable_samples,
        queryable_by_step: stats.queryable_by_step.clone(),
    }
}

pub(super) fn summary_of(summary: wire::Summary) -> (Vec<Note>, FragmentStats) {
    let note = |note: wire::Note| {
        let extra = match (note.monotonicity, note.count) {
            (Some(m), count) => NoteExtra::Monotonicity {
                t: (m.first_t, m.last_t),
                buckets: (m.lowest_bucket, m.highest_bucket),
                max_diff: m.max_diff,
                count,
            },
            (None, 0) => NoteExtra::None,
            (None, count) => NoteExtra::Count(count),
        };
        Note { text: note.text, pos: note.pos, extra }
    };
    let notes = summary.notes.into_iter().map(note).collect();
    let stats = FragmentStats {
        samples_read: summary.samples_read,
        peak_samples: summary.peak_samples,
        series: summary.series,
        peak_bytes: summary.peak_bytes,
        bytes_read: summary.bytes_read,
        requests: summary.requests,
        queryable_samples: summary.queryable_samples,
        queryable_by_step: summary.queryable_by_step,
    };
    (notes, stats)
}

pub(super) fn bytes(bytes: Vec<u8>) -> Bytes {
    Bytes::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_keep_their_kind() {
        let refused = Refused { shards: [3, 9].into_iter().collect(), reason: "not in sync".into(), complete: None };
        let complete = Completeness { from: -5, unflushed_from: i64::MAX, version: 7 };
        let errors: [ReadError; 14] = [
            SelectError::Cancelled.into(),
            SelectError::Timeout(Duration::from_secs(3)).into(),
            SelectError::Memory { limit: 7 }.into(),
            SelectError::Series { limit: 8 }.into(),
            SelectError::Storage("disk".into()).into(),
            SelectError::Damaged("block".into()).into(),
            FragmentError::TooManySamples.into(),
            FragmentError::Limit("points".into()).into(),
            FragmentError::Execution("no".into()).into(),
            FragmentError::Inexact("sums".into()).into(),
            FragmentError::Unsupported("what".into()).into(),
            refused.clone().into(),
            Refused { complete: Some(complete), ..refused.clone() }.into(),
            Refused { shards: ShardSet::new(), ..refused }.into(),
        ];
        for error in errors {
            let back = error_of("a:1", &status_of(&error));
            assert_eq!(format!("{back:?}"), format!("{error:?}"));
        }
        let plain = error_of("a:1", &Status::unavailable("connection refused"));
        assert!(matches!(&plain, ReadError::Unreachable(text) if text == "node a:1: connection refused"), "{plain:?}");
        let old = error_of("a:1", &Status::unimplemented("no such call"));
        assert!(matches!(old, ReadError::Failed(FragmentError::Unsupported(_))));
    }

    #[test]
    fn notes_and_statistics_round_trip() {
        let extra = NoteExtra::Monotonicity { t: (1, 2), buckets: (0.5, 1.0), max_diff: 0.1, count: 3 };
        let notes = [(4, NoteExtra::None), (5, NoteExtra::Count(2)), (6, extra)];
        let notes = notes.map(|(pos, extra)| Note { text: "text".into(), pos, extra }).to_vec();
        let stats = FragmentStats {
            samples_read: 1,
            peak_samples: 2,
            series: 3,
            peak_bytes: 4,
            bytes_read: 5,
            requests: 6,
            queryable_samples: 7,
            queryable_by_step: vec![3, 4],
        };
        assert_eq!(summary_of(write_summary(&notes, &stats)), (notes, stats));
    }

    #[test]
    fn invalid_scopes_and_matchers_are_refused() {
        let asked = |shards: &[u32]| wire::Asked {
            tenant: "a".into(),
            shards: shards.iter().map(|shard| wire::ShardEpoch { shard: *shard, epoch: 1 }).collect(),
            ..wire::Asked::default()
        };
        assert_eq!(scope_of(&asked(&[1, 5])).unwrap().0.shards.unwrap().len(), 2);
        assert!(scope_of(&asked(&[])).unwrap().0.shards.is_none());
        assert_eq!(scope_of(&asked(&[])).unwrap().0.complete_from, None, "who is older counts on nothing");
        let counting = wire::Asked { complete_from: Some(0), ..asked(&[1]) };
        assert_eq!(scope_of(&counting).unwrap().0.complete_from, Some(0), "zero is a time");
        assert!(scope_of(&asked(&[1, 1])).is_err() && scope_of(&asked(&[1 << 30])).is_err());
        assert!(scope_of(&wire::Asked::default()).is_err());
        let bad = wire::Matcher { name: "a".into(), operator: wire::Operator::Regex.into(), value: "(".into() };
        assert!(matchers_of(vec![bad]).is_err());
    }
}
