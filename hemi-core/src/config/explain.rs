//! What properties a component has: the same declarations that are read also document themselves.
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::{NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use super::{
    literal::{quote, show_duration},
    template::Template,
    types::{KindName, Ref, Several, Size, Spanned},
};

/// A group of properties that can be listed. Derived together with `serde::Deserialize`:
///
/// ```
/// #[derive(serde::Deserialize, hemi_core::Explain)]
/// #[serde(rename_all = "camelCase", default)]
/// struct Config {
///     /// The file that stands for a directory.
///     index_file: String,
/// }
///
/// impl Default for Config {
///     fn default() -> Self {
///         Self { index_file: "index.html".into() }
///     }
/// }
///
/// use hemi_core::{Explain as _, config::DefaultValue};
/// let property = &Config::properties()[0];
/// assert_eq!((property.name, &*property.kind), ("indexFile", "string"));
/// assert_eq!(property.default, DefaultValue::Value("\"index.html\"".into()));
/// ```
pub trait Explain {
    /// What the component is for: the doc comment of its (first) config struct.
    fn about() -> &'static str {
        ""
    }

    /// The properties in the order of their declaration.
    fn properties() -> Vec<Property>;
}

/// A property of a component, as its author declared it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// As it is written in a config, without the dot.
    pub name: &'static str,
    /// The doc comment of the field.
    pub doc: &'static str,
    /// Such as `duration` or `list of string`.
    pub kind: Cow<'static, str>,
    /// What applies if it is not set.
    pub default: DefaultValue,
}

/// What applies if a property is not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// It must be set.
    Required,
    /// Nothing.
    None,
    /// This, in the spelling of the config language.
    Value(String),
}

/// The type of a property, in the words of the config language.
pub trait ConfigType {
    /// Such as `duration` or `list of string`.
    fn kind() -> Cow<'static, str>;

    /// A value in the spelling of the config language.
    fn show(&self) -> String;

    /// How a value appears as a default.
    fn default_value(&self) -> DefaultValue {
        DefaultValue::Value(self.show())
    }

    /// What applies if a property of this type is not set and has no default.
    fn missing() -> DefaultValue {
        DefaultValue::Required
    }

    /// What a list of such values is.
    fn list_kind() -> Cow<'static, str> {
        format!("list of {}", Self::kind()).into()
    }

    /// A list of such values in the spelling of the config language.
    fn show_list<'a>(values: impl Iterator<Item = &'a Self>) -> String
    where
        Self: 'a,
    {
        format!("({})", values.map(Self::show).collect::<Vec<_>>().join(", "))
    }
}

impl Explain for () {
    fn properties() -> Vec<Property> {
        Vec::new()
    }
}

macro_rules! explain_tuples {
    ($first:ident $($rest:ident)*) => {
        impl<$first: Explain, $($rest: Explain),*> Explain for ($first, $($rest,)*) {
            fn about() -> &'static str {
                $first::about()
            }

            fn properties() -> Vec<Property> {
                [$first::properties(), $($rest::properties()),*].concat()
            }
        }
        explain_tuples! { $($rest)* }
    };
    () => {};
}

explain_tuples! { A B C D E F G H }

macro_rules! shown_plainly {
    ($kind:literal: $($type:ty)*) => { $(
        impl ConfigType for $type {
            fn kind() -> Cow<'static, str> {
                $kind.into()
            }

            fn show(&self) -> String {
                self.to_string()
            }
        }
    )* };
}

shown_plainly! { "boolean": bool }
shown_plainly! { "integer": i8 i16 i32 i64 u8 u16 u32 u64 usize isize f32 f64 }
shown_plainly! { "positive integer": NonZeroU16 NonZeroU32 NonZeroU64 NonZeroUsize }
shown_plainly! { "size": Size }

macro_rules! shown_in_quotes {
    ($kind:literal: $($type:ty)*) => { $(
        impl ConfigType for $type {
            fn kind() -> Cow<'static, str> {
                $kind.into()
            }

            fn show(&self) -> String {
                quote(&self.to_string())
            }
        }
    )* };
}

shown_in_quotes! { "string": String Box<str> Cow<'static, str> }
shown_in_quotes! { "IP address": IpAddr Ipv4Addr Ipv6Addr }
shown_in_quotes! { "IP address with port": SocketAddr }

impl ConfigType for PathBuf {
    fn kind() -> Cow<'static, str> {
        "path".into()
    }

    fn show(&self) -> String {
        quote(&self.to_string_lossy())
    }
}

impl ConfigType for Duration {
    fn kind() -> Cow<'static, str> {
        "duration".into()
    }

    fn show(&self) -> String {
        show_duration(*self)
    }
}

impl<K: KindName> ConfigType for Ref<K> {
    fn kind() -> Cow<'static, str> {
        format!("name of a {}", K::NAME).into()
    }

    fn show(&self) -> String {
        quote(self.name())
    }
}

impl<V> ConfigType for Template<V> {
    fn kind() -> Cow<'static, str> {
        "string with variables".into()
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl<T: ConfigType> ConfigType for Spanned<T> {
    fn kind() -> Cow<'static, str> {
        T::kind()
    }

    fn show(&self) -> String {
        self.value.show()
    }

    fn default_value(&self) -> DefaultValue {
        self.value.default_value()
    }
}

impl<T: ConfigType> ConfigType for Option<T> {
    fn kind() -> Cow<'static, str> {
        T::kind()
    }

    fn show(&self) -> String {
        self.as_ref().map(T::show).unwrap_or_default()
    }

    fn default_value(&self) -> DefaultValue {
        self.as_ref().map_or(DefaultValue::None, T::default_value)
    }

    fn missing() -> DefaultValue {
        DefaultValue::None
    }
}

macro_rules! lists {
    ($($type:ty)*) => { $(
        impl<T: ConfigType> ConfigType for $type {
            fn kind() -> Cow<'static, str> {
                T::list_kind()
            }

            fn show(&self) -> String {
                T::show_list(self.iter())
            }
        }
    )* };
}

lists! { Vec<T> Box<[T]> BTreeSet<T> }

impl<T: ConfigType> ConfigType for Several<T> {
    fn kind() -> Cow<'static, str> {
        format!("{}, or a list", T::kind()).into()
    }

    fn show(&self) -> String {
        match &self.0[..] {
            [one] => one.show(),
            several => T::show_list(several.iter()),
        }
    }
}

/// An entry: a list of them is a dict that keeps its order.
impl<K: ConfigType, T: ConfigType> ConfigType for (K, T) {
    fn kind() -> Cow<'static, str> {
        format!("pair of {} and {}", K::kind(), T::kind()).into()
    }

    fn show(&self) -> String {
        format!("({}, {})", self.0.show(), self.1.show())
    }

    fn list_kind() -> Cow<'static, str> {
        format!("dict of {}", T::kind()).into()
    }

    fn show_list<'a>(values: impl Iterator<Item = &'a Self>) -> String
    where
        Self: 'a,
    {
        let entries = values.map(|(key, value)| format!("{}: {}", key.show(), value.show()));
        format!("[{}]", entries.collect::<Vec<_>>().join(", "))
    }
}

macro_rules! dicts {
    ($($type:ty)*) => { $(
        impl<K: ConfigType, T: ConfigType> ConfigType for $type {
            fn kind() -> Cow<'static, str> {
                format!("dict of {}", T::kind()).into()
            }

            fn show(&self) -> String {
                let mut entries: Vec<_> =
                    self.iter().map(|(key, value)| format!("{}: {}", key.show(), value.show())).collect();
                // A hash map has no order of its own.
                entries.sort();
                format!("[{}]", entries.join(", "))
            }
        }
    )* };
}

dicts! { BTreeMap<K, T> HashMap<K, T> }
