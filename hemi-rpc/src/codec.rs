//! What values are written in: JSON, MessagePack and Protobuf, or bytes as they are.

use std::collections::{BTreeMap, HashMap};
use std::ops::{Deref, DerefMut};

use bytes::{BufMut, Bytes};
use hemi_proto::rpcx::CodecId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

pub use bytes::BytesMut;

/// How deep values may be nested in what others send.
const DEPTH: usize = 100;

/// A value that services take or send back.
///
/// [`#[message]`](macro@crate::message) implements it for structs. Numbers, strings, lists and maps have it as well;
/// [`Bytes`] are sent as they are where that is asked for.
pub trait Payload: Sized + Send + 'static {
    /// Appends it, as this codec has it.
    ///
    /// # Errors
    /// When it can't be written in that.
    fn encode(&self, codec: CodecId, out: &mut BytesMut) -> Result<(), CodecError>;

    /// Reads it.
    ///
    /// # Errors
    /// When that is not what the bytes are.
    fn decode(codec: CodecId, bytes: &[u8]) -> Result<Self, CodecError>;
}

/// Why a value can't be written or read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// There is no such codec. The text is that of Go.
    #[error("can not find codec for {0}")]
    Unknown(u8),
    /// The codec has no form for values of this type.
    #[error("{0} is no form of this value: it is sent otherwise")]
    Unfit(&'static str),
    /// The value can't be written.
    #[error("cannot be written: {0}")]
    Unwritable(String),
    /// The bytes are not such a value.
    #[error("cannot be read: {0}")]
    Malformed(String),
}

impl CodecError {
    /// Of a value that has no form in this codec.
    #[must_use]
    pub fn unfit(codec: CodecId) -> Self {
        match codec {
            CodecId::RAW => Self::Unfit("bytes as they are"),
            CodecId::JSON => Self::Unfit("JSON"),
            CodecId::PROTOBUF => Self::Unfit("Protobuf"),
            CodecId::MSGPACK => Self::Unfit("MessagePack"),
            CodecId::THRIFT => Self::Unfit("Thrift"),
            other => Self::Unknown(other.number()),
        }
    }
}

/// Writes what serde knows, as JSON or MessagePack: structs as maps.
///
/// # Errors
/// For other codecs, and when the value has no form there.
pub fn encode_serde<T: Serialize>(
    value: &T,
    codec: CodecId,
    out: &mut BytesMut,
) -> Result<(), CodecError> {
    match codec {
        CodecId::JSON => serde_json::to_writer(out.writer(), value)
            .map_err(|e| CodecError::Unwritable(e.to_string())),
        CodecId::MSGPACK => rmp_serde::encode::write_named(&mut out.writer(), value)
            .map_err(|e| CodecError::Unwritable(e.to_string())),
        other => Err(CodecError::unfit(other)),
    }
}

/// Reads what serde knows, from JSON or MessagePack.
///
/// # Errors
/// For other codecs, and when the bytes are something else.
pub fn decode_serde<T: DeserializeOwned>(codec: CodecId, bytes: &[u8]) -> Result<T, CodecError> {
    match codec {
        CodecId::JSON => {
            serde_json::from_slice(bytes).map_err(|e| CodecError::Malformed(e.to_string()))
        }
        CodecId::MSGPACK => {
            let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes);
            deserializer.set_max_depth(DEPTH);
            T::deserialize(&mut deserializer).map_err(|e| CodecError::Malformed(e.to_string()))
        }
        other => Err(CodecError::unfit(other)),
    }
}

/// Writes a message of Protobuf.
///
/// # Errors
/// Never, so far.
pub fn encode_protobuf<M: prost::Message>(
    message: &M,
    out: &mut BytesMut,
) -> Result<(), CodecError> {
    message.encode(out).map_err(|e| CodecError::Unwritable(e.to_string()))
}

/// Reads a message of Protobuf.
///
/// # Errors
/// When the bytes are none.
pub fn decode_protobuf<M: prost::Message + Default>(bytes: &[u8]) -> Result<M, CodecError> {
    M::decode(bytes).map_err(|e| CodecError::Malformed(e.to_string()))
}

/// For fields: what comes as nil, as Go sends what is empty, is what it is by default.
///
/// # Errors
/// When what comes is neither nil nor such a value.
pub fn or_default<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Default + Deserialize<'de>,
    D: Deserializer<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// For fields of bytes, by `#[serde(with = "hemi_rpc::codec::binary")]`: as Go has `[]byte`, in JSON as base64.
pub mod binary {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::{Error, SeqAccess, Visitor};
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes bytes.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(
        bytes: &impl AsRef<[u8]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&STANDARD.encode(bytes))
        } else {
            serializer.serialize_bytes(bytes.as_ref())
        }
    }

    /// Reads bytes; nil is none.
    ///
    /// # Errors
    /// When it is something else.
    pub fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: From<Vec<u8>>,
        D: Deserializer<'de>,
    {
        if deserializer.is_human_readable() {
            let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
            return STANDARD.decode(text).map(T::from).map_err(D::Error::custom);
        }
        deserializer.deserialize_any(Bytes).map(T::from)
    }

    /// Takes bytes, text, numbers in a list, or nil.
    struct Bytes;

    impl<'de> Visitor<'de> for Bytes {
        type Value = Vec<u8>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("bytes")
        }

        fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
            Ok(bytes.to_vec())
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Vec<u8>, E> {
            Ok(text.as_bytes().to_vec())
        }

        fn visit_unit<E: Error>(self) -> Result<Vec<u8>, E> {
            Ok(Vec::new())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u8>, A::Error> {
            let mut bytes = Vec::new();
            while let Some(byte) = list.next_element()? {
                bytes.push(byte);
            }
            Ok(bytes)
        }
    }
}

/// A message of prost, which is sent as Protobuf only: those with `#[message(protobuf)]` need this not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Protobuf<M>(pub M);

impl<M> Deref for Protobuf<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.0
    }
}

impl<M> DerefMut for Protobuf<M> {
    fn deref_mut(&mut self) -> &mut M {
        &mut self.0
    }
}

impl<M: prost::Message + Default + 'static> Payload for Protobuf<M> {
    fn encode(&self, codec: CodecId, out: &mut BytesMut) -> Result<(), CodecError> {
        match codec {
            CodecId::PROTOBUF => encode_protobuf(&self.0, out),
            other => Err(CodecError::unfit(other)),
        }
    }

    fn decode(codec: CodecId, bytes: &[u8]) -> Result<Self, CodecError> {
        match codec {
            CodecId::PROTOBUF => decode_protobuf(bytes).map(Self),
            other => Err(CodecError::unfit(other)),
        }
    }
}

/// A payload that is passed on as it is, whatever it is written in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawPayload(pub Bytes);

impl Payload for RawPayload {
    fn encode(&self, _: CodecId, out: &mut BytesMut) -> Result<(), CodecError> {
        out.extend_from_slice(&self.0);
        Ok(())
    }

    fn decode(_: CodecId, bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(Self(Bytes::copy_from_slice(bytes)))
    }
}

/// Nothing: what comes in its place is not looked at.
impl Payload for () {
    fn encode(&self, codec: CodecId, out: &mut BytesMut) -> Result<(), CodecError> {
        match codec {
            CodecId::RAW | CodecId::PROTOBUF => Ok(()),
            other => encode_serde(self, other, out),
        }
    }

    fn decode(_: CodecId, _: &[u8]) -> Result<Self, CodecError> {
        Ok(())
    }
}

/// Bytes, or text: what they are where bytes are sent as they are.
macro_rules! raw {
    ($($ty:ty: $read:expr),+ $(,)?) => {
        $(impl Payload for $ty {
            fn encode(&self, codec: CodecId, out: &mut BytesMut) -> Result<(), CodecError> {
                if codec == CodecId::RAW {
                    out.extend_from_slice(self.as_ref());
                    return Ok(());
                }
                encode_serde(&Whole(self), codec, out)
            }

            fn decode(codec: CodecId, bytes: &[u8]) -> Result<Self, CodecError> {
                let read: fn(&[u8]) -> Result<$ty, CodecError> = $read;
                if codec == CodecId::RAW {
                    return read(bytes);
                }
                decode_serde::<Whole<$ty>>(codec, bytes).map(|whole| whole.0)
            }
        })+
    };
}

/// Bytes by themselves, written as [`binary`] does; or text.
struct Whole<T>(T);

impl Serialize for Whole<&Bytes> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        binary::serialize(self.0, serializer)
    }
}

impl Serialize for Whole<&Vec<u8>> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        binary::serialize(self.0, serializer)
    }
}

impl Serialize for Whole<&String> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Whole<Bytes> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        binary::deserialize(deserializer).map(Whole)
    }
}

impl<'de> Deserialize<'de> for Whole<Vec<u8>> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        binary::deserialize(deserializer).map(Whole)
    }
}

impl<'de> Deserialize<'de> for Whole<String> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        or_default(deserializer).map(Whole)
    }
}

raw! {
    Bytes: |bytes| Ok(Bytes::copy_from_slice(bytes)),
    Vec<u8>: |bytes| Ok(bytes.to_vec()),
    String: |bytes| String::from_utf8(bytes.to_vec()).map_err(|e| CodecError::Malformed(e.to_string())),
}

macro_rules! by_serde {
    ($($ty:ty)+) => {
        $(impl Payload for $ty {
            fn encode(&self, codec: CodecId, out: &mut BytesMut) -> Result<(), CodecError> {
                encode_serde(self, codec, out)
            }

            fn decode(codec: CodecId, bytes: &[u8]) -> Result<Self, CodecError> {
                decode_serde(codec, bytes)
            }
        })+
    };
}

by_serde! { bool u8 u16 u32 u64 i8 i16 i32 i64 f32 f64 serde_json::Value Vec<String> Vec<i64> Vec<f64> }
by_serde! { HashMap<String, String> BTreeMap<String, String> HashMap<String, serde_json::Value> }

#[cfg(test)]
mod tests {
    use super::*;

    #[crate::message]
    #[derive(Clone, Debug, PartialEq)]
    struct Team {
        id: i64,
        name: String,
        colour_names: Vec<String>,
        #[serde(with = "binary")]
        crest: Vec<u8>,
        #[serde(rename = "URL")]
        url: Option<String>,
    }

    fn reds() -> Team {
        let colour_names = vec!["Crimson".to_owned()];
        Team { id: 1, name: "Reds".to_owned(), colour_names, crest: vec![1, 2], url: None }
    }

    fn written<T: Payload>(value: &T, codec: CodecId) -> Vec<u8> {
        let mut out = BytesMut::new();
        value.encode(codec, &mut out).unwrap();
        out.to_vec()
    }

    #[test]
    fn fields_have_the_names_of_go() {
        let json = written(&reds(), CodecId::JSON);
        let text = r#"{"Id":1,"Name":"Reds","ColourNames":["Crimson"],"Crest":"AQI=","URL":null}"#;
        assert_eq!(String::from_utf8(json.clone()).unwrap(), text);
        assert_eq!(Team::decode(CodecId::JSON, &json).unwrap(), reds());
        let msgpack = written(&reds(), CodecId::MSGPACK);
        assert_eq!(msgpack[..6], *b"\x85\xa2Id\x01\xa4");
        assert_eq!(Team::decode(CodecId::MSGPACK, &msgpack).unwrap(), reds());
        let unfit = Team::decode(CodecId::PROTOBUF, &[]).unwrap_err();
        assert_eq!(unfit, CodecError::Unfit("Protobuf"));
        let unknown = Team::decode(CodecId::new(9).unwrap(), &[]).unwrap_err();
        assert_eq!(unknown.to_string(), "can not find codec for 9");
    }

    #[test]
    fn what_go_leaves_out_or_sends_as_nil_is_empty() {
        let nil = Team::decode(CodecId::JSON, br#"{"ColourNames":null,"Crest":null,"X":1}"#);
        assert_eq!(nil.unwrap(), Team::default());
        // {"Id": int64 5, "ColourNames": nil, "Crest": nil}
        let nil = b"\x83\xa2Id\xd3\0\0\0\0\0\0\0\x05\xabColourNames\xc0\xa5Crest\xc0";
        let team = Team::decode(CodecId::MSGPACK, nil).unwrap();
        assert_eq!(team, Team { id: 5, ..Team::default() });
    }

    #[test]
    fn nesting_has_an_end() {
        for deep in [vec![0x91; 100_000], b"\x81\xa0".repeat(50_000)] {
            assert!(serde_json::Value::decode(CodecId::MSGPACK, &deep).is_err());
            assert!(Team::decode(CodecId::MSGPACK, &deep).is_err());
        }
        assert!(serde_json::Value::decode(CodecId::JSON, &[b'['; 100_000]).is_err());
    }

    #[test]
    fn bytes_are_sent_as_they_are_or_as_go_does() {
        let bytes = vec![1, 2, 255];
        for (codec, wire) in [
            (CodecId::RAW, &b"\x01\x02\xff"[..]),
            (CodecId::JSON, b"\"AQL/\""),
            (CodecId::MSGPACK, b"\xc4\x03\x01\x02\xff"),
        ] {
            assert_eq!(written(&bytes, codec), wire);
            assert_eq!(Vec::<u8>::decode(codec, wire).unwrap(), bytes);
            assert_eq!(Bytes::decode(codec, wire).unwrap(), bytes);
        }
        assert_eq!(String::decode(CodecId::RAW, b"text").unwrap(), "text");
        assert!(String::decode(CodecId::RAW, b"\xff").is_err());
        assert_eq!(RawPayload::decode(CodecId::THRIFT, b"x").unwrap().0, "x");
    }
}
