//! Calls: the messages of a client, out of its bytes.

use core::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::LONGEST_WORD;

/// The longest call that is read, in bytes. An honest one has some two hundred.
pub const LONGEST_CALL: usize = 16 * 1024;

/// The most parameters of a call. An honest one has seven at most (systemd 258).
const MOST_PARAMETERS: usize = 32;

/// What no client of ours would send. There is no answer to it: the connection ends, as it does in systemd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The bytes of a client, as they come, and the calls in them.
#[derive(Debug, Default)]
pub struct Calls {
    bytes: Vec<u8>,
    /// How many of them are no end of a call: each is looked at once, however they dribble.
    looked_at: usize,
}

impl Calls {
    /// Takes bytes. Not before [`next_call`](Self::next_call) has said that there is no call yet: so there are never more than
    /// [`LONGEST_CALL`] of them, and those that came with them.
    pub fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next call, without its NUL, if it is complete.
    ///
    /// # Errors
    /// [`Malformed`]: it is longer than [`LONGEST_CALL`].
    pub fn next_call(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        let news = self.bytes.iter().skip(self.looked_at);
        let end = news.take_while(|byte| **byte != 0).count();
        let end = self.looked_at.saturating_add(end);
        if end > LONGEST_CALL {
            return Err(Malformed);
        }
        if end == self.bytes.len() {
            self.looked_at = end;
            return Ok(None);
        }
        self.looked_at = 0;
        let call = self.bytes.drain(..end).collect();
        self.bytes.drain(..1);
        Ok(Some(call))
    }

    /// Whether there are bytes of a call that is not complete.
    pub fn is_within_one(&self) -> bool {
        !self.bytes.is_empty()
    }
}

/// A call, as varlink.org describes it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Interface and name.
    pub method: String,
    #[serde(default)]
    pub(super) parameters: Option<Parameters>,
    /// The client takes more than one reply.
    #[serde(default)]
    pub more: bool,
    /// The client takes no reply at all.
    #[serde(default)]
    pub oneway: bool,
    /// After the reply, the connection is for another protocol.
    #[serde(default)]
    pub upgrade: bool,
}

impl Call {
    /// Reads a message. A key that stands there twice, one that is not known, and a `null` for a flag are refused, as by
    /// systemd.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        // What is skipped is not looked at closely by the parser: all of it is text, or nothing is.
        let text = core::str::from_utf8(message).map_err(|_| Malformed)?;
        let call: Self = serde_json::from_str(text).map_err(|_| Malformed)?;
        let contradicts_itself = call.oneway && (call.more || call.upgrade);
        if call.method.len() > LONGEST_WORD || contradicts_itself {
            return Err(Malformed);
        }
        Ok(call)
    }
}

/// The parameters of a call, in their order. Each is there once.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Parameters(pub(super) Vec<(String, Parameter)>);

/// One of them. What is nested is nothing that we are asked for: it is skipped without being kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Parameter {
    /// `null`: as if it were not there.
    Nothing,
    /// A number of 32 bits, without a sign.
    Number(u32),
    Text(String),
    Other,
}

impl<'de> Deserialize<'de> for Parameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Parameters;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameters, A::Error> {
        let mut read: Vec<(String, Parameter)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, Parameter>()? {
            // Two of a name would be one to us and the other one to somebody else.
            let there_already = read.iter().any(|(other, _)| *other == name);
            if there_already || name.len() > LONGEST_WORD || read.len() == MOST_PARAMETERS {
                return Err(A::Error::custom("parameters"));
            }
            read.push((name, value));
        }
        Ok(Parameters(read))
    }
}

impl<'de> Deserialize<'de> for Parameter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Parameter;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Parameter, E> {
        Ok(Parameter::Nothing)
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Parameter, E> {
        Ok(Parameter::Other)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Parameter, E> {
        Ok(u32::try_from(value).map_or(Parameter::Other, Parameter::Number))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Parameter, E> {
        Ok(u32::try_from(value).map_or(Parameter::Other, Parameter::Number))
    }

    /// JSON has one kind of numbers: `61200.0` is 61200, also to systemd.
    fn visit_f64<E: Error>(self, value: f64) -> Result<Parameter, E> {
        let digits = value.to_string();
        Ok(digits.parse().map_or(Parameter::Other, Parameter::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Parameter, E> {
        Ok(Parameter::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Parameter, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Parameter::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Parameter, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Parameter::Other)
    }
}

#[cfg(test)]
mod tests;
