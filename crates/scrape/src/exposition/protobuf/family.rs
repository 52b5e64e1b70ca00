//! Reads a metric family message metric by metric.
//!
//! An empty metric takes two bytes in the message and hundreds in memory, so decoding all of them at once would let a small
//! body take a lot of memory.

use pharos_transport::client;
use prost::Message;

/// The longest message of one metric, bytes. It is far above any sensible use and bounds what a decoded metric holds.
const MAX_METRIC_BYTES: usize = 2 << 20;

const METRIC_FIELD: usize = 4;
const VARINT: usize = 0;
const FIXED_64: usize = 1;
const LENGTH_DELIMITED: usize = 2;
const FIXED_32: usize = 5;

/// A metric family without its metrics, which decoding skips.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FamilyHead {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) help: String,
    #[prost(enumeration = "client::MetricType", tag = "3")]
    pub(super) kind: i32,
    #[prost(string, tag = "5")]
    pub(super) unit: String,
}

/// The metrics of a family message, in order.
pub(super) struct Metrics<'a> {
    rest: &'a [u8],
}

impl<'a> Metrics<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Metrics { rest: message }
    }

    fn varint(&mut self) -> Result<usize, String> {
        prost::decode_length_delimiter(&mut self.rest).map_err(|e| e.to_string())
    }

    fn bytes(&mut self, length: usize) -> Result<&'a [u8], String> {
        let taken = self.rest.split_at_checked(length);
        let (bytes, rest) = taken.ok_or_else(|| format!("field of {length} bytes is truncated"))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// The next metric message; `None` at the end.
    fn next_message(&mut self) -> Result<Option<&'a [u8]>, String> {
        while !self.rest.is_empty() {
            let key = self.varint()?;
            match key & 7 {
                VARINT => _ = self.varint()?,
                FIXED_64 => _ = self.bytes(8)?,
                FIXED_32 => _ = self.bytes(4)?,
                LENGTH_DELIMITED => {
                    let length = self.varint()?;
                    let bytes = self.bytes(length)?;
                    if key >> 3 == METRIC_FIELD {
                        return Ok(Some(bytes));
                    }
                }
                other => return Err(format!("unsupported wire type {other} of field {}", key >> 3)),
            }
        }
        Ok(None)
    }

    fn decode(message: &[u8]) -> Result<client::Metric, String> {
        if message.len() > MAX_METRIC_BYTES {
            return Err(format!("a metric of {} bytes, the limit is {MAX_METRIC_BYTES}", message.len()));
        }
        client::Metric::decode(message).map_err(|e| e.to_string())
    }
}

impl Iterator for Metrics<'_> {
    type Item = Result<client::Metric, String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_message().transpose().map(|message| message.and_then(Self::decode))
    }
}
