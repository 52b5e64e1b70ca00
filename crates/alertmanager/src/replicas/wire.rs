//! The messages between replicas: one kind of call with one kind of answer, both protobuf in the body of a POST.

use jiff::Timestamp;
use prost::Message;

use super::claims::Claim;
use super::{Change, ReplicaInfo};
use crate::notification_log::Entry;
use crate::records::{Record, decode_all};
use crate::silences::Silence;

#[derive(Clone, PartialEq, Message)]
struct MemberRecord {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    address: String,
}

#[derive(Clone, PartialEq, Message)]
struct ClaimRecord {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    holder: String,
    #[prost(int64, tag = "3")]
    until_ms: i64,
}

#[derive(Clone, PartialEq, Message)]
struct MessageRecord {
    #[prost(string, tag = "1")]
    label: String,
    #[prost(message, optional, tag = "2")]
    sender: Option<MemberRecord>,
    #[prost(message, repeated, tag = "3")]
    members: Vec<MemberRecord>,
    #[prost(bytes = "vec", tag = "4")]
    silences: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    entries: Vec<u8>,
    #[prost(message, repeated, tag = "6")]
    claims: Vec<ClaimRecord>,
    #[prost(message, repeated, tag = "7")]
    released: Vec<ClaimRecord>,
    #[prost(bool, tag = "8")]
    wants_everything: bool,
    #[prost(bool, tag = "9")]
    is_goodbye: bool,
}

/// A call or its answer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Letter {
    /// The label of the cluster. Replicas with another label are not heard.
    pub(super) label: String,
    /// Who speaks.
    pub(super) sender: ReplicaInfo,
    /// The replicas that it takes for live.
    pub(super) members: Vec<ReplicaInfo>,
    /// Changes.
    pub(super) changes: Vec<Change>,
    /// Claims: of the sender in a call, those that won in an answer.
    pub(super) claims: Vec<Claim>,
    /// Claims of the sender that have ended.
    pub(super) released: Vec<Claim>,
    /// Whether the answer should have everything that the other one knows.
    pub(super) wants_everything: bool,
    /// Whether the sender stops.
    pub(super) is_goodbye: bool,
}

impl Letter {
    /// A letter that says no more than that the sender is there.
    pub(super) fn new(label: &str, sender: &ReplicaInfo, members: Vec<ReplicaInfo>) -> Letter {
        Letter {
            label: label.to_string(),
            sender: sender.clone(),
            members,
            changes: Vec::new(),
            claims: Vec::new(),
            released: Vec::new(),
            wants_everything: false,
            is_goodbye: false,
        }
    }

    /// The letter as bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let member = |info: &ReplicaInfo| MemberRecord { name: info.name.clone(), address: info.address.clone() };
        let claim = |claim: &Claim| ClaimRecord {
            key: claim.key.clone(),
            holder: claim.holder.clone(),
            until_ms: claim.until.as_millisecond(),
        };
        let mut record = MessageRecord {
            label: self.label.clone(),
            sender: Some(member(&self.sender)),
            members: self.members.iter().map(member).collect(),
            claims: self.claims.iter().map(claim).collect(),
            released: self.released.iter().map(claim).collect(),
            wants_everything: self.wants_everything,
            is_goodbye: self.is_goodbye,
            ..MessageRecord::default()
        };
        for change in &self.changes {
            match change {
                Change::Silence(silence) => record.silences.extend(silence.encode()),
                Change::Notified(entry) => record.entries.extend(entry.encode()),
            }
        }
        record.encode_to_vec()
    }

    /// Reads what [`Letter::encode`] wrote.
    ///
    /// # Errors
    /// The bytes are not a letter; the text says why.
    pub(super) fn decode(bytes: &[u8]) -> Result<Letter, String> {
        let record = MessageRecord::decode(bytes).map_err(|error| error.to_string())?;
        let member = |record: MemberRecord| ReplicaInfo { name: record.name, address: record.address };
        let claim = |record: ClaimRecord| {
            let until = Timestamp::from_millisecond(record.until_ms).unwrap_or(Timestamp::UNIX_EPOCH);
            Claim { key: record.key, holder: record.holder, until }
        };
        let sender = record.sender.map(member).filter(|sender| !sender.name.is_empty()).ok_or("no sender")?;
        let (silences, _) = decode_all::<Silence>(&record.silences);
        let (entries, _) = decode_all::<Entry>(&record.entries);
        let silences = silences.into_iter().map(Change::Silence);
        Ok(Letter {
            label: record.label,
            sender,
            members: record.members.into_iter().map(member).collect(),
            changes: silences.chain(entries.into_iter().map(Change::Notified)).collect(),
            claims: record.claims.into_iter().map(claim).collect(),
            released: record.released.into_iter().map(claim).collect(),
            wants_everything: record.wants_everything,
            is_goodbye: record.is_goodbye,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn info(name: &str) -> ReplicaInfo {
        ReplicaInfo { name: name.into(), address: format!("{name}:1") }
    }

    proptest! {
        #[test]
        fn letters_are_read_as_they_were_written(
            label: String, name in "[a-z]{1,9}", key: String, until in 0i64..1 << 40, flags: (bool, bool),
        ) {
            let claim = Claim { key, holder: name.clone(), until: Timestamp::from_millisecond(until).unwrap() };
            let mut letter = Letter::new(&label, &info(&name), vec![info("x"), info("y")]);
            letter.claims = vec![claim.clone()];
            letter.released = vec![claim];
            (letter.wants_everything, letter.is_goodbye) = flags;
            prop_assert_eq!(Letter::decode(&letter.encode()), Ok(letter));
        }

        #[test]
        fn no_bytes_end_the_process(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _refused_or_not = Letter::decode(&bytes);
        }
    }
}
