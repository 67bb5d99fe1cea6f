//! Names and values of text, as serde sees them: parameters of paths, queries, forms.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::{MapDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};
use serde::forward_to_deserialize_any;

/// A name and a value, both decoded.
pub(crate) type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// A value from names and values, of which several may have the same name.
///
/// A struct or map takes them by name; one that is there several times goes into a list, and is a mistake
/// where no list is wanted. An `Option` is none for an empty value. A list of pairs takes all in their
/// order.
pub(crate) fn from_pairs<T: DeserializeOwned>(pairs: Vec<Pair<'_>>) -> Result<T, Error> {
    T::deserialize(Pairs(pairs))
}

/// A value from the parameters of a path: a struct or map takes them by name, a tuple or list in their
/// order, and all else the only one.
pub(crate) fn from_params<T: DeserializeOwned>(params: &[Pair<'_>]) -> Result<T, Error> {
    T::deserialize(Params(params))
}

/// Why text is no such value.
#[derive(Debug)]
pub(crate) struct Error {
    pub(crate) message: String,
    /// No text at all would be, for its names are not those that are asked for.
    pub(crate) misfit: bool,
}

impl Error {
    fn misfit(message: impl fmt::Display) -> Self {
        Self { message: message.to_string(), misfit: true }
    }

    /// The same about what has this name.
    fn of(self, name: &str) -> Self {
        Self { message: format!("`{name}`: {}", self.message), ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), misfit: false }
    }

    fn missing_field(name: &'static str) -> Self {
        Self::misfit(format_args!("`{name}` is missing"))
    }

    fn invalid_length(len: usize, expected: &dyn de::Expected) -> Self {
        Self::misfit(format_args!("there are {len}, not {expected}"))
    }

    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::misfit(format_args!("it is {unexpected}, not {expected}"))
    }
}

struct Pairs<'a>(Vec<Pair<'a>>);

impl<'de> Deserializer<'de> for Pairs<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, Error> {
        // Equal names side by side, in their order.
        self.0.sort_by(|a, b| a.0.cmp(&b.0));
        visitor.visit_map(Runs { rest: &self.0, values: &[] })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let pairs = self.0.iter().map(|(name, value)| (&**name, &**value));
        visitor.visit_seq(MapDeserializer::new(pairs))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit_struct tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Params<'a>(&'a [Pair<'a>]);

impl<'a> Params<'a> {
    fn only(self) -> Result<Values<'a>, Error> {
        match self.0 {
            [_] => Ok(Values(self.0)),
            others => Err(Error::misfit(format_args!("the route has {} parameters", others.len()))),
        }
    }
}

macro_rules! of_the_only {
    ($($method:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.only()?.$method(visitor)
        })+
    };
}

impl<'de> Deserializer<'de> for Params<'_> {
    type Error = Error;

    of_the_only! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string
        deserialize_bytes deserialize_byte_buf deserialize_identifier
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(Runs { rest: self.0, values: &[] })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_map(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Each(self.0))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Error> {
        match self.0.len() == len {
            true => self.deserialize_seq(visitor),
            false => Err(de::Error::invalid_length(self.0.len(), &&*len.to_string())),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.0.is_empty() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.only()?.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

/// Pairs of which those with equal names stand side by side, as a map from names to all their values.
struct Runs<'a> {
    rest: &'a [Pair<'a>],
    values: &'a [Pair<'a>],
}

impl<'de> MapAccess<'de> for Runs<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((name, _)) = self.rest.first() else { return Ok(None) };
        let run = self.rest.iter().take_while(|(other, _)| other == name).count();
        (self.values, self.rest) = self.rest.split_at(run);
        let key: StrDeserializer<'_, Error> = (&**name).into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let name = self.values.first().map_or("", |(name, _)| name);
        seed.deserialize(Values(self.values)).map_err(|e| e.of(name))
    }
}

/// Values, one after the other, whatever their names.
struct Each<'a>(&'a [Pair<'a>]);

impl<'de> SeqAccess<'de> for Each<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let Some((one, rest)) = self.0.split_at_checked(1).filter(|(one, _)| !one.is_empty())
        else {
            return Ok(None);
        };
        self.0 = rest;
        let name = one.first().map_or("", |(name, _)| name);
        seed.deserialize(Values(one)).map(Some).map_err(|e| e.of(name))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len())
    }
}

/// All the values of one name: at least one.
struct Values<'a>(&'a [Pair<'a>]);

impl<'a> Values<'a> {
    fn only(&self) -> Result<&'a str, Error> {
        match self.0 {
            [(_, value)] => Ok(value),
            _ => Err(de::Error::custom("it is there more than once")),
        }
    }
}

macro_rules! parsed {
    ($($method:ident $visit:ident $what:literal)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let value = self.only()?.parse();
            visitor.$visit(value.map_err(|_| <Error as de::Error>::custom(concat!("it is not ", $what)))?)
        })+
    };
}

impl<'de> Deserializer<'de> for Values<'_> {
    type Error = Error;

    parsed! {
        deserialize_i8 visit_i8 "an integer of the range"
        deserialize_i16 visit_i16 "an integer of the range"
        deserialize_i32 visit_i32 "an integer of the range"
        deserialize_i64 visit_i64 "an integer of the range"
        deserialize_i128 visit_i128 "an integer of the range"
        deserialize_u8 visit_u8 "a whole number of the range"
        deserialize_u16 visit_u16 "a whole number of the range"
        deserialize_u32 visit_u32 "a whole number of the range"
        deserialize_u64 visit_u64 "a whole number of the range"
        deserialize_u128 visit_u128 "a whole number of the range"
        deserialize_f32 visit_f32 "a number"
        deserialize_f64 visit_f64 "a number"
        deserialize_char visit_char "a single character"
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(match self.only()? {
            // What browsers send of a box that is ticked.
            "true" | "1" | "on" => true,
            "false" | "0" | "off" => false,
            _ => return Err(de::Error::custom("it is neither true nor false")),
        })
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.only()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            [(_, value)] if value.is_empty() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Each(self.0))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let value: StrDeserializer<'_, Error> = self.only()?.into_deserializer();
        value.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bytes(self.only()?.as_bytes())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        str string identifier unit unit_struct tuple tuple_struct map struct
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;

    use super::*;

    fn pairs<'a>(pairs: &[(&'a str, &'a str)]) -> Vec<Pair<'a>> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn message<T: DeserializeOwned>(given: &[(&str, &str)]) -> String {
        from_pairs::<T>(pairs(given)).err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct All {
        text: String,
        number: i8,
        ticked: bool,
        empty: Option<u32>,
        absent: Option<u32>,
        #[serde(default)]
        list: Vec<u32>,
        choice: Choice,
        wrapped: Wrapped,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Choice {
        This,
        That,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Wrapped(f64);

    const GIVEN: [(&str, &str); 9] = [
        ("list", "3"),
        ("text", "a"),
        ("number", "-7"),
        ("ticked", "on"),
        ("list", "1"),
        ("empty", ""),
        ("choice", "that"),
        ("wrapped", "1.5"),
        ("unknown", "x"),
    ];

    #[test]
    fn values_of_all_kinds_come_by_their_names() {
        let all: All = from_pairs(pairs(&GIVEN)).unwrap();
        let expected = All {
            text: "a".into(),
            number: -7,
            ticked: true,
            empty: None,
            absent: None,
            list: vec![3, 1],
            choice: Choice::That,
            wrapped: Wrapped(1.5),
        };
        assert_eq!(all, expected);
        let map: HashMap<String, Vec<String>> = from_pairs(pairs(&GIVEN)).unwrap();
        assert_eq!(map["list"], ["3", "1"]);
        let list: Vec<(String, String)> = from_pairs(pairs(&GIVEN)).unwrap();
        assert_eq!(list.len(), GIVEN.len());
        assert_eq!(list[1], ("text".into(), "a".into()));
    }

    #[test]
    fn what_is_wrong_is_told() {
        type Numbers = HashMap<String, u8>;
        #[derive(Deserialize)]
        #[expect(dead_code, reason = "only whether it can be read matters")]
        struct One {
            n: u8,
        }
        assert_eq!(
            message::<Numbers>(&[("n", "256")]),
            "`n`: it is not a whole number of the range"
        );
        assert_eq!(
            message::<Numbers>(&[("n", "1"), ("n", "2")]),
            "`n`: it is there more than once"
        );
        assert_eq!(message::<One>(&[]), "`n` is missing");
        assert_eq!(
            message::<HashMap<String, bool>>(&[("b", "maybe")]),
            "`b`: it is neither true nor false"
        );
        assert!(message::<HashMap<String, Choice>>(&[("c", "other")]).contains("other"));
        assert!(!message::<u32>(&[("n", "1")]).is_empty());
        assert!(!message::<HashMap<String, HashMap<String, u8>>>(&[("n", "1")]).is_empty());
    }

    #[test]
    fn parameters_come_by_order_too() {
        let params = pairs(&[("a", "7"), ("b", "x")]);
        assert_eq!(from_params::<(u8, char)>(&params).unwrap(), (7, 'x'));
        assert_eq!(from_params::<Vec<String>>(&params).unwrap(), ["7", "x"]);
        assert_eq!(from_params::<HashMap<String, String>>(&params).unwrap()["b"], "x");
        assert_eq!(from_params::<u8>(&params[..1]).unwrap(), 7);
        assert_eq!(from_params::<Choice>(&pairs(&[("a", "this")])).unwrap(), Choice::This);
        let misfit = |e: Error| e.misfit;
        assert!(misfit(from_params::<u8>(&params).unwrap_err()));
        assert!(misfit(from_params::<u8>(&[]).unwrap_err()));
        assert!(misfit(from_params::<(u8, char, u8)>(&params).unwrap_err()));
        assert!(!misfit(from_params::<(u8, u8)>(&params).unwrap_err()));
    }
}
