//! The JSON encoding of OTLP: a request is converted to the equivalent protobuf message and then translated as such.
//!
//! The mapping is that of the OTLP specification. Keys are in lower camel case and unknown ones are ignored. 64-bit integers
//! are numbers or decimal text, trace and span ids are hexadecimal, other bytes base64, and enums are numbers or names. The
//! conversion streams: it builds no tree, and its output is bounded.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use pharos_model::Hold;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::schema::{Field, Kind, REQUEST};
use crate::error::ReceiveError;

/// The number of bytes that are reserved in flight at a time.
const STEP: usize = 64 << 10;
/// The space for the length of a message, which is written once the message is complete.
const LENGTH_BYTES: usize = 5;

/// Converts a request to protobuf, of at most `limit` bytes.
pub(super) fn to_protobuf(json: &[u8], limit: usize, hold: &Hold) -> Result<Vec<u8>, ReceiveError> {
    let mut out = Output { bytes: Vec::new(), hold, reserved: 0, limit, failure: None };
    let mut input = serde_json::Deserializer::from_slice(json);
    let read = Message { fields: REQUEST, out: &mut out }.deserialize(&mut input).and_then(|()| input.end());
    match (read, out.failure) {
        (_, Some(failure)) => Err(failure),
        (Err(error), None) => Err(ReceiveError::BadRequest(format!("json: {error}"))),
        (Ok(()), None) => Ok(out.bytes),
    }
}

/// The protobuf message under construction.
struct Output<'t> {
    bytes: Vec<u8>,
    hold: &'t Hold,
    /// The number of reserved bytes that are not written yet.
    reserved: usize,
    limit: usize,
    /// The error for which writing stopped.
    failure: Option<ReceiveError>,
}

impl Output<'_> {
    fn put<E: Error>(&mut self, bytes: &[u8]) -> Result<(), E> {
        if bytes.len() > self.reserved {
            self.reserve(bytes.len()).map_err(|failure| {
                let error = E::custom(&failure);
                self.failure = Some(failure);
                error
            })?;
        }
        self.reserved -= bytes.len();
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn reserve(&mut self, bytes: usize) -> Result<(), ReceiveError> {
        if self.bytes.len() + bytes > self.limit {
            return Err(ReceiveError::BadRequest(format!(
                "decoded size exceeds the {} bytes limit (limits.max_decompressed_request_size)",
                self.limit
            )));
        }
        let more = bytes.max(STEP);
        self.hold.draw(more as u64)?;
        self.reserved += more;
        Ok(())
    }

    fn varint<E: Error>(&mut self, mut value: u64) -> Result<(), E> {
        let mut bytes = [0; 10];
        let mut len = 0;
        while value >= 0x80 {
            bytes[len] = value as u8 | 0x80;
            value >>= 7;
            len += 1;
        }
        bytes[len] = value as u8;
        self.put(&bytes[..=len])
    }

    fn key<E: Error>(&mut self, field: &Field) -> Result<(), E> {
        let wire_type = match field.kind {
            Kind::Bool | Kind::Varint | Kind::Zigzag | Kind::Enumeration(_) => 0,
            Kind::Fixed64 | Kind::Double => 1,
            Kind::Text | Kind::Hex | Kind::Base64 | Kind::Message(_) => 2,
        };
        self.varint(u64::from(field.number) << 3 | wire_type)
    }

    fn chunk<E: Error>(&mut self, field: &Field, bytes: &[u8]) -> Result<(), E> {
        self.key(field)?;
        self.varint(bytes.len() as u64)?;
        self.put(bytes)
    }

    /// Begins a message of unknown length; returns its start.
    fn begin<E: Error>(&mut self, field: &Field) -> Result<usize, E> {
        self.key(field)?;
        self.put(&[0; LENGTH_BYTES])?;
        Ok(self.bytes.len())
    }

    /// Ends the message that starts there. Its length is a varint padded with zeros.
    fn end(&mut self, start: usize) {
        let length = self.bytes.len() - start;
        for (at, byte) in self.bytes[start - LENGTH_BYTES..start].iter_mut().enumerate() {
            let continuation = if at + 1 < LENGTH_BYTES { 0x80 } else { 0 };
            *byte = (length >> (7 * at)) as u8 & 0x7f | continuation;
        }
    }

    fn integer<E: Error>(&mut self, field: &Field, value: i128) -> Result<(), E> {
        let out_of_range = || E::custom(format_args!("{} {value} is out of range", field.name));
        let (low, high) = field.range;
        if value < low || value > high {
            return Err(out_of_range());
        }
        self.key(field)?;
        match field.kind {
            Kind::Zigzag => self.varint(((value << 1) ^ (value >> 127)) as u64),
            Kind::Fixed64 => self.put(&(value as u64).to_le_bytes()),
            _ => self.varint(value as u64),
        }
    }

    fn double<E: Error>(&mut self, field: &Field, value: f64) -> Result<(), E> {
        self.key(field)?;
        self.put(&value.to_le_bytes())
    }

    fn text<E: Error>(&mut self, field: &Field, text: &str) -> Result<(), E> {
        let bad = || E::custom(format_args!("{} has the value {text:?}", field.name));
        match field.kind {
            Kind::Text => self.chunk(field, text.as_bytes()),
            Kind::Hex => self.chunk(field, &hex(text).ok_or_else(bad)?),
            Kind::Base64 => self.chunk(field, &BASE64.decode(text).map_err(|_| bad())?),
            Kind::Double => self.double(field, double(text).ok_or_else(bad)?),
            Kind::Varint | Kind::Zigzag | Kind::Fixed64 => {
                let value = text.parse::<i128>().map_err(|_| bad())?;
                self.integer(field, value)
            }
            Kind::Enumeration(names) => {
                let number = names.iter().position(|name| *name == text).ok_or_else(bad)?;
                self.integer(field, number as i128)
            }
            Kind::Bool | Kind::Message(_) => Err(bad()),
        }
    }
}

fn double(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        number if number.bytes().any(|b| b.is_ascii_digit()) => number.parse().ok(),
        _ => None,
    }
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16).map(|d| d as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?));
    if rest.is_empty() { bytes.collect() } else { None }
}

/// Writes the fields of a message as they come.
struct Message<'o, 't> {
    fields: &'static [Field],
    out: &'o mut Output<'t>,
}

impl<'de> DeserializeSeed<'de> for Message<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Message<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(Name(self.fields))? {
            match field {
                Some(field) => map.next_value_seed(FieldValue { field, is_element: false, out: &mut *self.out })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Finds a field by its key; `None` for unknown ones.
struct Name(&'static [Field]);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Field>;

    fn deserialize<D: serde::Deserializer<'de>>(self, input: D) -> Result<Self::Value, D::Error> {
        input.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|field| field.name == name))
    }
}

/// Writes the value of a field, or an element of its list.
struct FieldValue<'o, 't> {
    field: &'static Field,
    is_element: bool,
    out: &'o mut Output<'t>,
}

impl FieldValue<'_, '_> {
    /// Rejects a value where a list is needed.
    fn check<E: Error>(&self) -> Result<(), E> {
        match self.field.is_list && !self.is_element {
            true => Err(E::custom(format_args!("{} is not a list", self.field.name))),
            false => Ok(()),
        }
    }

    /// Writes a whole number.
    fn whole<E: Error>(self, value: i128) -> Result<(), E> {
        self.check()?;
        match self.field.kind {
            Kind::Double => self.out.double(self.field, value as f64),
            Kind::Varint | Kind::Zigzag | Kind::Fixed64 | Kind::Enumeration(_) => self.out.integer(self.field, value),
            _ => Err(self.misfit("a number")),
        }
    }

    fn misfit<E: Error>(&self, what: &str) -> E {
        E::custom(format_args!("{} is {what}", self.field.name))
    }
}

impl<'de> DeserializeSeed<'de> for FieldValue<'_, '_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldValue<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a value of {}", self.field.name)
    }

    /// Null stands for a missing field.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if self.is_element { Err(self.misfit("null in a list")) } else { Ok(()) }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.check()?;
        match self.field.kind {
            Kind::Bool => {
                self.out.key(self.field)?;
                self.out.put(&[u8::from(value)])
            }
            _ => Err(self.misfit("a boolean")),
        }
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.whole(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.whole(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.check()?;
        match self.field.kind {
            Kind::Double => self.out.double(self.field, value),
            Kind::Varint | Kind::Zigzag | Kind::Fixed64 if value.fract() == 0.0 => {
                self.out.integer(self.field, value as i128)
            }
            _ => Err(self.misfit("a number with a fraction")),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.check()?;
        self.out.text(self.field, text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let FieldValue { field, is_element, out } = self;
        if !field.is_list || is_element {
            return Err(A::Error::custom(format_args!("{} is a list", field.name)));
        }
        while list.next_element_seed(FieldValue { field, is_element: true, out: &mut *out })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.check()?;
        let Kind::Message(fields) = self.field.kind else { return Err(self.misfit("an object")) };
        let start = self.out.begin(self.field)?;
        Message { fields, out: &mut *self.out }.visit_map(map)?;
        self.out.end(start);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
