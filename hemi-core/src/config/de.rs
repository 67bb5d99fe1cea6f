//! Properties to typed structs.
//!
//! serde hands a deserializer the names of a struct's fields. That is all inheritance needs: each
//! name is looked up on the component and then outwards, whatever the struct is.
mod access;
mod error;
mod quoted;
mod value;

use std::cell::RefCell;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};

use super::{
    diagnostic::{Diagnostic, Diagnostics},
    tree::Scope,
    value::Value,
};
pub(super) use access::spanned;
use error::ReadError;
use value::ValueDe;

/// Names under which our own types ask for what serde has no word for.
pub(super) const SIZE: &str = "$hemi::Size";
pub(super) const REF: &str = "$hemi::Ref";
pub(super) const SPANNED: &str = "$hemi::Spanned";
pub(super) const SEVERAL: &str = "$hemi::Several";
pub(super) const TEMPLATE: &str = "$hemi::Template";

/// Reads typed properties of a component.
pub(super) fn read<T: DeserializeOwned>(scope: Scope<'_>) -> Result<T, Diagnostics> {
    let reading = Reading { scope, bad: RefCell::default() };
    // serde stops at the first bad property. It is noted and left out of the next attempt, until an
    // attempt reaches the end.
    let result = loop {
        match T::deserialize(ScopeDe(&reading)) {
            Err(ReadError::Noted) => {}
            result => break result,
        }
    };
    let bad = reading.bad.into_inner();
    let mut errors = Diagnostics::default();
    let missing = match &result {
        Err(ReadError::Missing(field)) => bad.iter().any(|(name, _)| name == field),
        _ => false,
    };
    let good = bad.is_empty();
    errors.extend(bad.into_iter().filter_map(|(_, error)| error));
    match result {
        Ok(value) if good => return Ok(value),
        Ok(_) => {}
        // Not missing: bad.
        Err(_) if missing => {}
        Err(error) => errors.push(error.of_component(scope)),
    }
    Err(errors)
}

/// One call of [`read`].
struct Reading<'a> {
    scope: Scope<'a>,
    /// Properties with bad values; without an error if it is reported already.
    bad: RefCell<Vec<(&'static str, Option<Diagnostic>)>>,
}

/// A component as a struct, or as a tuple of structs.
#[derive(Clone, Copy)]
struct ScopeDe<'r, 'a>(&'r Reading<'a>);

impl<'de> Deserializer<'de> for ScopeDe<'_, '_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, ReadError> {
        // `#[serde(flatten)]` ends here: it hides the names of the fields.
        Err(ReadError::Message("properties are read into a struct, or a tuple of structs".into()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let Reading { scope, bad, .. } = self.0;
        let found = fields.iter().filter_map(|&name| {
            let property = scope.take(name)?;
            if bad.borrow().iter().any(|(bad, _)| *bad == name) {
                return None;
            }
            if property.value.is_none() {
                bad.borrow_mut().push((name, None));
            }
            Some((name, property.value.as_ref()?))
        });
        let found: Vec<_> = found.collect();
        visitor.visit_map(Properties { reading: self.0, found: found.into_iter(), next: None })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_seq(Groups { scope: self, left: length })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_seq(Groups { scope: self, left: length })
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        seq map enum identifier ignored_any
    }
}

/// The properties of a component that a struct has fields for.
struct Properties<'r, 'a> {
    reading: &'r Reading<'a>,
    found: std::vec::IntoIter<(&'static str, &'a Value)>,
    next: Option<(&'static str, &'a Value)>,
}

impl<'de> MapAccess<'de> for Properties<'_, '_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        self.next = self.found.next();
        self.next.map(|(name, _)| seed.deserialize(name.into_deserializer())).transpose()
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ReadError> {
        let Some((name, value)) = self.next.take() else {
            return Err(ReadError::Message("a value without a key".into()));
        };
        let reader = ValueDe { reading: self.reading, value };
        seed.deserialize(reader).map_err(|error| match error.at(value) {
            ReadError::Placed(error) => {
                self.reading.bad.borrow_mut().push((name, Some(*error)));
                ReadError::Noted
            }
            error => error,
        })
    }
}

/// Several structs that are read from the same component.
struct Groups<'r, 'a> {
    scope: ScopeDe<'r, 'a>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Groups<'_, '_> {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ReadError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(self.scope).map(Some)
    }
}
