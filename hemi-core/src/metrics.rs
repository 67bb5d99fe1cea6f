//! Numbers of what a stage does, for those who collect them: Prometheus and its like.
//!
//! Components count on their own, per core; when somebody asks, [`Lifecycle::measure`](crate::Lifecycle)
//! tells what they have counted.

mod labels;
mod process;
mod text;

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Stage;
use crate::panics::catch_call;

pub use labels::Labels;
pub use text::Exposition;

/// What was counted, by families of the same name. It can be sent to another process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Measures {
    families: BTreeMap<Name, Family>,
    /// A label of all that the component tells that is asked now: its kind and name.
    #[serde(skip)]
    owner: Option<(&'static str, String)>,
}

/// A name that a component has written, or another process has sent.
type Name = Cow<'static, str>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Family {
    help: Name,
    kind: Kind,
    #[serde(with = "labels::series")]
    series: BTreeMap<Labels, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

/// What was counted under one name and the same labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Of a counter or gauge; 1 of facts.
    Number(Number),
    /// How often something was how large.
    Histogram(Histogram),
}

/// A number as it was counted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Number {
    /// Of things.
    Whole(u64),
    /// Of seconds, most often.
    Real(#[serde(deserialize_with = "labels::real")] f64),
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

/// How often something was how large.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    /// Up to what each bucket holds, but for the last, which holds all that is larger; ascending.
    pub bounds: Cow<'static, [f64]>,
    /// How much each bucket holds: one more than there are bounds.
    pub counts: Vec<u64>,
    /// The sum of all.
    pub sum: f64,
}

impl Measures {
    /// What the components of a stage tell, and what there is to tell of the process. Reads a few files
    /// of `/proc`.
    #[must_use]
    pub fn of(stage: &Stage) -> Self {
        let mut measures = Self::of_process();
        measures.gauge("hemi_stage", "The stage that serves, counted from 1.", &[], stage.id());
        for life in stage.lives() {
            measures.owner = Some((life.kind, life.name.clone()));
            // It has told what it has told.
            let _ = catch_call(|| life.component.measure(&mut measures));
        }
        measures.owner = None;
        measures
    }

    /// What there is to tell of this process. Reads a few files of `/proc`.
    #[must_use]
    pub fn of_process() -> Self {
        let mut measures = Self::default();
        process::measure(&mut measures);
        measures
    }

    /// What was counted under a name, with the labels that tell one from the other, in the order of these.
    pub fn series<'a>(
        &'a self,
        name: &str,
    ) -> impl Iterator<Item = (&'a Labels, &'a Value)> + use<'a> {
        self.families.get(name).into_iter().flat_map(|family| &family.series)
    }

    /// A number that only grows. The name begins with `hemi_` and the component's kind, and names the unit
    /// if there is one; `_total` is added to it.
    pub fn counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: impl Into<Number>,
    ) {
        self.add(name, help, Kind::Counter, labels, Value::Number(value.into()));
    }

    /// A number that grows and shrinks.
    pub fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: impl Into<Number>,
    ) {
        self.add(name, help, Kind::Gauge, labels, Value::Number(value.into()));
    }

    /// How often something was how large.
    pub fn histogram(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        histogram: Histogram,
    ) {
        self.add(name, help, Kind::Histogram, labels, Value::Histogram(histogram));
    }

    /// Facts that are texts, such as a version, as labels. `_info` is added to the name.
    pub fn info(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
    ) {
        self.add(name, help, Kind::Info, labels, Value::Number(Number::Whole(1)));
    }

    /// Of what is told twice with the same labels the sum counts. Who calls another thing by the name of a
    /// family is not heard.
    fn add(
        &mut self,
        name: &'static str,
        help: &'static str,
        kind: Kind,
        labels: &[(&'static str, &str)],
        value: Value,
    ) {
        let own = labels.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let labels = self.owner.iter().cloned().chain(own).collect();
        let new = || Family { help: help.into(), kind, series: BTreeMap::new() };
        let family = self.families.entry(name.into()).or_insert_with(new);
        if family.kind == kind {
            family.series.entry(labels).and_modify(|known| known.add(&value)).or_insert(value);
        }
    }
}

impl Value {
    fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Number(Number::Whole(a)), Self::Number(Number::Whole(b))) => *a += b,
            (Self::Number(Number::Real(a)), Self::Number(Number::Real(b))) => *a += b,
            (Self::Histogram(a), Self::Histogram(b)) => a.add(b),
            _ => {}
        }
    }

    /// The number, if it is one.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(Number::Whole(number)) => Some(*number as f64),
            Self::Number(Number::Real(number)) => Some(*number),
            Self::Histogram(_) => None,
        }
    }

    /// The histogram, if it is one.
    #[must_use]
    pub fn histogram(&self) -> Option<&Histogram> {
        match self {
            Self::Number(_) => None,
            Self::Histogram(histogram) => Some(histogram),
        }
    }
}

impl Histogram {
    /// Adds one with the same bounds; of others nothing.
    pub fn add(&mut self, other: &Self) {
        if self.bounds == other.bounds {
            self.sum += other.sum;
            self.counts.iter_mut().zip(&other.counts).for_each(|(a, b)| *a += b);
        }
    }

    /// What was added since an earlier state of the same; all, if that is none.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        if self.bounds != earlier.bounds || self.sum < earlier.sum {
            return self.clone();
        }
        let counts = self.counts.iter().zip(&earlier.counts);
        Self {
            bounds: self.bounds.clone(),
            counts: counts.map(|(now, then)| now.saturating_sub(*then)).collect(),
            sum: self.sum - earlier.sum,
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What this share of all, between 0 and 1, does not exceed: as exact as the buckets are, between whose
    /// bounds all are taken to lie evenly. None if there are none; the last bound if it is beyond that.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = share.clamp(0.0, 1.0) * self.count() as f64;
        let (mut below, mut low) = (0.0, 0.0);
        for (bound, held) in self.bounds.iter().zip(&self.counts) {
            let held = *held as f64;
            if held > 0.0 && below + held >= wanted {
                return Some(low + (bound - low) * (wanted - below) / held);
            }
            (below, low) = (below + held, *bound);
        }
        (self.count() > 0).then_some(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let bounds = Cow::Borrowed(&[1.0, 2.0, 4.0][..]);
        let of = |counts: [u64; 4]| Histogram {
            bounds: bounds.clone(),
            counts: counts.into(),
            sum: 0.0,
        };
        let cases = [
            ([0, 0, 0, 0], 0.5, None),
            ([2, 0, 0, 0], 0.5, Some(0.5)),
            ([1, 0, 1, 0], 0.5, Some(1.0)),
            ([1, 0, 1, 0], 0.75, Some(3.0)),
            ([0, 0, 0, 3], 0.99, Some(4.0)),
            ([1, 1, 1, 1], 1.0, Some(4.0)),
            ([0, 4, 0, 0], 0.0, Some(1.0)),
        ];
        for (counts, share, expected) in cases {
            assert_eq!(of(counts).quantile(share), expected, "{counts:?} {share}");
        }
    }

    #[test]
    fn measures_are_sent_as_they_are() {
        let mut out = Measures { owner: Some(("server", "a".into())), ..Measures::default() };
        out.counter("hemi_b", "B.", &[("limit", "x"), ("a", "y")], 3);
        out.gauge("hemi_a", "A.", &[], 2.0);
        let bounds = Cow::Borrowed(&[0.5][..]);
        out.histogram("hemi_c", "C.", &[], Histogram { bounds, counts: vec![1, 2], sum: 0.25 });
        let json = serde_json::to_string(&out).unwrap();
        let read: Measures = serde_json::from_str(&json).unwrap();
        assert_eq!(read.write(Exposition::Prometheus), out.write(Exposition::Prometheus));
        let (labels, value) = read.series("hemi_b").next().unwrap();
        assert_eq!((labels.value("limit"), labels.value("none")), (Some("x"), None));
        assert_eq!(value.number(), Some(3.0));
        out.gauge("hemi_d", "D.", &[], f64::NAN);
        let json = serde_json::to_string(&out).unwrap();
        let read: Measures = serde_json::from_str(&json).unwrap();
        assert!(read.series("hemi_d").next().unwrap().1.number().unwrap().is_nan());
    }
}
