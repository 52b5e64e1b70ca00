//! The records of silences and of the notification log, on disk and between replicas.
//!
//! They are Alertmanager's own protobuf messages, each behind its length, so that a data folder can be taken over from
//! Alertmanager and given back.

use std::collections::BTreeMap;

use jiff::Timestamp;
use pharos_model::MatchOp;
use prost::Message;

use crate::matcher::Matcher;
use crate::notification_log::{Entry, IntegrationKey};
use crate::silences::Silence;

/// The longest record that is read, bytes.
const MAX_RECORD_BYTES: usize = 16 << 20;

/// A record that can be stored.
pub trait Record: Sized {
    /// The record behind its length.
    fn encode(&self) -> Vec<u8>;

    /// Reads what [`Record::encode`] wrote, without the length.
    ///
    /// # Errors
    /// The bytes are not such a record; the text says why.
    fn decode(bytes: &[u8]) -> Result<Self, String>;
}

/// The records that bytes start with, and how many bytes they take. The rest is torn or damaged.
///
/// A record that is complete but not valid is passed over with a warning, because others are behind it.
pub fn decode_all<R: Record>(bytes: &[u8]) -> (Vec<R>, usize) {
    let (mut records, mut used) = (Vec::new(), 0);
    while used < bytes.len() {
        let mut rest = &bytes[used..];
        let Ok(length) = prost::decode_length_delimiter(&mut rest) else { break };
        if length > MAX_RECORD_BYTES || length > rest.len() {
            break;
        }
        let end = bytes.len() - rest.len() + length;
        match R::decode(&rest[..length]) {
            Ok(record) => records.push(record),
            Err(error) => tracing::warn!(error, offset = used, "omitting a record that cannot be read"),
        }
        used = end;
    }
    (records, used)
}

#[derive(Clone, PartialEq, Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Time {
    fn from(time: Timestamp) -> Option<Time> {
        Some(Time { seconds: time.as_second(), nanos: time.subsec_nanosecond() })
    }

    fn read(time: Option<Time>, what: &str) -> Result<Timestamp, String> {
        let time = time.ok_or_else(|| format!("no {what}"))?;
        Timestamp::new(time.seconds, time.nanos).map_err(|error| format!("{what}: {error}"))
    }
}

#[derive(Clone, PartialEq, Message)]
struct MatcherRecord {
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    pattern: String,
}

/// The operators by their numbers in the record.
const OPERATORS: [MatchOp; 4] = [MatchOp::Equal, MatchOp::Regex, MatchOp::NotEqual, MatchOp::NotRegex];

impl MatcherRecord {
    fn from(matcher: &Matcher) -> MatcherRecord {
        let kind = OPERATORS.iter().position(|op| *op == matcher.op()).unwrap_or_default() as i32;
        MatcherRecord { kind, name: matcher.name().to_string(), pattern: matcher.value().to_string() }
    }

    fn read(&self) -> Result<Matcher, String> {
        let op = usize::try_from(self.kind).ok().and_then(|kind| OPERATORS.get(kind));
        let op = op.ok_or_else(|| format!("matcher of unknown type {}", self.kind))?;
        Matcher::new(*op, &self.name, &self.pattern)
    }
}

#[derive(Clone, PartialEq, Message)]
struct MatcherSetRecord {
    #[prost(message, repeated, tag = "1")]
    matchers: Vec<MatcherRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct CommentRecord {
    #[prost(string, tag = "1")]
    author: String,
    #[prost(string, tag = "2")]
    comment: String,
}

#[derive(Clone, PartialEq, Message)]
struct SilenceRecord {
    #[prost(string, tag = "1")]
    id: String,
    /// The first of `matcher_sets`, for versions of Alertmanager that know only one.
    #[prost(message, repeated, tag = "2")]
    matchers: Vec<MatcherRecord>,
    #[prost(message, optional, tag = "3")]
    starts_at: Option<Time>,
    #[prost(message, optional, tag = "4")]
    ends_at: Option<Time>,
    #[prost(message, optional, tag = "5")]
    updated_at: Option<Time>,
    /// Written by old versions of Alertmanager.
    #[prost(message, repeated, tag = "7")]
    comments: Vec<CommentRecord>,
    #[prost(string, tag = "8")]
    created_by: String,
    #[prost(string, tag = "9")]
    comment: String,
    #[prost(btree_map = "string, string", tag = "10")]
    annotations: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "11")]
    matcher_sets: Vec<MatcherSetRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredSilence {
    #[prost(message, optional, tag = "1")]
    silence: Option<SilenceRecord>,
    #[prost(message, optional, tag = "2")]
    expires_at: Option<Time>,
}

impl StoredSilence {
    fn from(silence: &Silence) -> StoredSilence {
        let set = |matchers: &Vec<Matcher>| matchers.iter().map(MatcherRecord::from).collect();
        let matcher_sets = silence.matcher_sets.iter().map(|matchers| MatcherSetRecord { matchers: set(matchers) });
        let record = SilenceRecord {
            id: silence.id.clone(),
            matchers: Vec::new(),
            starts_at: Time::from(silence.starts_at),
            ends_at: Time::from(silence.ends_at),
            updated_at: Time::from(silence.updated_at),
            comments: Vec::new(),
            created_by: silence.created_by.clone(),
            comment: silence.comment.clone(),
            annotations: silence.annotations.clone(),
            matcher_sets: matcher_sets.collect(),
        };
        StoredSilence { silence: Some(record), expires_at: Time::from(silence.expires_at) }
    }
}

/// The size of a silence for the limit of its size, bytes.
pub fn silence_size(silence: &Silence) -> usize {
    StoredSilence::from(silence).encoded_len()
}

impl Record for Silence {
    fn encode(&self) -> Vec<u8> {
        let mut stored = StoredSilence::from(self);
        if let Some(record) = &mut stored.silence {
            record.matchers = record.matcher_sets.first().map(|set| set.matchers.clone()).unwrap_or_default();
        }
        stored.encode_length_delimited_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let stored: StoredSilence = Message::decode(bytes).map_err(|error| error.to_string())?;
        let mut record = stored.silence.ok_or("record without a silence")?;
        if record.matcher_sets.is_empty() {
            record.matcher_sets.push(MatcherSetRecord { matchers: std::mem::take(&mut record.matchers) });
        }
        if let Some(first) = record.comments.into_iter().next() {
            (record.created_by, record.comment) = (first.author, first.comment);
        }
        let set = |set: &MatcherSetRecord| set.matchers.iter().map(MatcherRecord::read).collect::<Result<Vec<_>, _>>();
        let matcher_sets = record.matcher_sets.iter().map(set).collect::<Result<Vec<_>, _>>();
        Ok(Silence {
            matcher_sets: matcher_sets.map_err(|error| format!("silence {}: {error}", record.id))?,
            id: record.id,
            starts_at: Time::read(record.starts_at, "start")?,
            ends_at: Time::read(record.ends_at, "end")?,
            updated_at: Time::read(record.updated_at, "time of the last change")?,
            created_by: record.created_by,
            comment: record.comment,
            annotations: record.annotations,
            expires_at: Time::read(stored.expires_at, "time of removal")?,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
struct ReceiverRecord {
    #[prost(string, tag = "1")]
    group_name: String,
    #[prost(string, tag = "2")]
    integration: String,
    #[prost(uint32, tag = "3")]
    index: u32,
}

#[derive(Clone, PartialEq, Message)]
struct DatumRecord {
    #[prost(oneof = "DatumValue", tags = "1, 2, 3")]
    value: Option<DatumValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum DatumValue {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "2")]
    Int(i64),
    #[prost(double, tag = "3")]
    Float(f64),
}

#[derive(Clone, PartialEq, Message)]
struct EntryRecord {
    #[prost(bytes = "vec", tag = "1")]
    group_key: Vec<u8>,
    #[prost(message, optional, tag = "2")]
    receiver: Option<ReceiverRecord>,
    #[prost(message, optional, tag = "5")]
    timestamp: Option<Time>,
    #[prost(uint64, repeated, tag = "6")]
    firing_alerts: Vec<u64>,
    #[prost(uint64, repeated, tag = "7")]
    resolved_alerts: Vec<u64>,
    #[prost(btree_map = "string, message", tag = "8")]
    receiver_data: BTreeMap<String, DatumRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct StoredEntry {
    #[prost(message, optional, tag = "1")]
    entry: Option<EntryRecord>,
    #[prost(message, optional, tag = "2")]
    expires_at: Option<Time>,
}

impl Record for Entry {
    fn encode(&self) -> Vec<u8> {
        let receiver = ReceiverRecord {
            group_name: self.integration.receiver.clone(),
            integration: self.integration.name.clone(),
            index: self.integration.index,
        };
        let datum = |text: &String| DatumRecord { value: Some(DatumValue::Text(text.clone())) };
        let entry = EntryRecord {
            group_key: self.group_key.clone().into_bytes(),
            receiver: Some(receiver),
            timestamp: Time::from(self.timestamp),
            firing_alerts: self.firing.clone(),
            resolved_alerts: self.resolved.clone(),
            receiver_data: self.data.iter().map(|(key, value)| (key.clone(), datum(value))).collect(),
        };
        StoredEntry { entry: Some(entry), expires_at: Time::from(self.expires_at) }.encode_length_delimited_to_vec()
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        let stored: StoredEntry = Message::decode(bytes).map_err(|error| error.to_string())?;
        let entry = stored.entry.ok_or("record without an entry")?;
        let receiver = entry.receiver.ok_or("entry without a receiver")?;
        let datum = |(key, record): (String, DatumRecord)| {
            let value = match record.value? {
                DatumValue::Text(text) => text,
                DatumValue::Int(number) => number.to_string(),
                DatumValue::Float(number) => number.to_string(),
            };
            Some((key, value))
        };
        Ok(Entry {
            group_key: String::from_utf8(entry.group_key).map_err(|_| "group key is not UTF-8")?,
            integration: IntegrationKey {
                receiver: receiver.group_name,
                name: receiver.integration,
                index: receiver.index,
            },
            timestamp: Time::read(entry.timestamp, "timestamp")?,
            firing: entry.firing_alerts,
            resolved: entry.resolved_alerts,
            data: entry.receiver_data.into_iter().filter_map(datum).collect(),
            expires_at: Time::read(stored.expires_at, "time of removal")?,
        })
    }
}

#[cfg(test)]
mod tests;
