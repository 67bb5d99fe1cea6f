//! Types for config structs that plain Rust types cannot express.
use std::{
    fmt,
    hash::{Hash, Hasher},
    marker::PhantomData,
    ops::Deref,
};

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use super::{
    de::{REF, SEVERAL, SIZE, SPANNED, spanned},
    literal::show_size,
    source::Span,
};

/// A number of bytes, written `16K` or as a plain integer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&show_size(self.0))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;

        impl<'de> Visitor<'de> for Bytes {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size like 16K")
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
                Ok(Size(bytes))
            }

            fn visit_newtype_struct<D: Deserializer<'de>>(
                self,
                bytes: D,
            ) -> Result<Size, D::Error> {
                u64::deserialize(bytes).map(Size)
            }
        }

        deserializer.deserialize_newtype_struct(SIZE, Bytes)
    }
}

/// Reads a size of `MIN` bytes or more, by `#[serde(deserialize_with = "…")]`.
///
/// # Errors
/// When it is another value, or less.
pub fn size_of_at_least<'de, const MIN: u64, D: Deserializer<'de>>(
    from: D,
) -> Result<Size, D::Error> {
    match Size::deserialize(from)? {
        size if size.0 >= MIN => Ok(size),
        less => Err(too_little(less, Size(MIN))),
    }
}

/// The same for numbers.
///
/// # Errors
/// The same.
pub fn number_of_at_least<'de, const MIN: usize, D: Deserializer<'de>>(
    from: D,
) -> Result<usize, D::Error> {
    match usize::deserialize(from)? {
        number if number >= MIN => Ok(number),
        less => Err(too_little(less, MIN)),
    }
}

fn too_little<E: de::Error>(less: impl fmt::Display, least: impl fmt::Display) -> E {
    E::custom(format!("{less} is too little to work with: {least} is the least there can be here"))
}

/// What a [`Ref`] refers to, such as a kind of component.
pub trait KindName: 'static {
    /// As it stands in error messages: "no WEBAPP is called …".
    const NAME: &'static str;
}

/// The name of another component in a property, with its place.
pub struct Ref<K> {
    name: String,
    span: Span,
    kind: PhantomData<fn() -> K>,
}

impl<K> Ref<K> {
    /// The name of the component.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the name stands in the config.
    pub fn span(&self) -> Span {
        self.span
    }
}

impl<K: KindName> Ref<K> {
    const KIND: &'static [&'static str] = &[K::NAME];
}

impl<K> Clone for Ref<K> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), span: self.span, kind: PhantomData }
    }
}

impl<K> fmt::Debug for Ref<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ref({:?})", self.name)
    }
}

impl<K> PartialEq for Ref<K> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl<K> Eq for Ref<K> {}

impl<K> Hash for Ref<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl<'de, K: KindName> Deserialize<'de> for Ref<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name<K>(PhantomData<fn() -> K>);

        impl<'de, K: KindName> Visitor<'de> for Name<K> {
            type Value = Ref<K>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "the name of a {}", K::NAME)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Ref<K>, A::Error> {
                let (span, name) = spanned(seq)?;
                Ok(Ref { name, span, kind: PhantomData })
            }
        }

        deserializer.deserialize_struct(REF, Self::KIND, Name(PhantomData))
    }
}

/// A list that needs no parentheses if it is of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Several<T>(pub Vec<T>);

impl<T> Default for Several<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Several<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values<T>(PhantomData<fn() -> T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Values<T> {
            type Value = Several<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value or a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Several<T>, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(Several(values))
            }
        }

        deserializer.deserialize_struct(SEVERAL, &[], Values(PhantomData))
    }
}

/// A value with its place in the config, for errors that are found later.
#[derive(Clone, Copy, Debug)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Spanned<T> {}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Inner<T>(PhantomData<fn() -> T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Inner<T> {
            type Value = Spanned<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Spanned<T>, A::Error> {
                let (span, value) = spanned(seq)?;
                Ok(Spanned { value, span })
            }
        }

        deserializer.deserialize_struct(SPANNED, &[], Inner(PhantomData))
    }
}
