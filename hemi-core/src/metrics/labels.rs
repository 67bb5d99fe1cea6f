//! Labels of measures, and how these are sent to another process.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Name, Value};

/// Names and values that tell one measure of a family from the others, such as the component it is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Labels(pub(super) Vec<(Name, String)>);

impl Labels {
    /// The value of the label of this name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    /// All of them: that of the component first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }
}

impl FromIterator<(&'static str, String)> for Labels {
    fn from_iter<I: IntoIterator<Item = (&'static str, String)>>(labels: I) -> Self {
        Self(labels.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        /// Keeps their order.
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Labels;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("labels")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Labels, A::Error> {
                let mut labels = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    labels.push((name.into(), value));
                }
                Ok(Labels(labels))
            }
        }
        input.deserialize_map(InOrder)
    }
}

/// The series of a family as a list, for labels can't be the name of anything in JSON.
pub(super) mod series {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct One<L, V> {
        labels: L,
        value: V,
    }

    pub(crate) fn serialize<S: Serializer>(
        series: &BTreeMap<Labels, Value>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        out.collect_seq(series.iter().map(|(labels, value)| One { labels, value }))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        input: D,
    ) -> Result<BTreeMap<Labels, Value>, D::Error> {
        let series = Vec::<One<Labels, Value>>::deserialize(input)?;
        Ok(series.into_iter().map(|one| (one.labels, one.value)).collect())
    }
}

/// A number; what JSON has none for is `null` there.
pub(super) fn real<'de, D: Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(input)?.unwrap_or(f64::NAN))
}
