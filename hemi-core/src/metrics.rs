//! Numbers of what a stage does, for those who collect them: Prometheus and its like.
//!
//! Components count on their own, per core; when somebody asks, [`Lifecycle::measure`](crate::Lifecycle)
//! tells what they have counted.

mod process;
mod text;

use std::collections::BTreeMap;

use crate::Stage;
use crate::panics::catch_call;

pub use text::Exposition;

/// What was counted, by families of the same name.
#[derive(Debug, Default)]
pub struct Measures {
    families: BTreeMap<&'static str, Family>,
    /// A label of all that the component tells that is asked now: its kind and name.
    owner: Option<(&'static str, String)>,
}

#[derive(Debug)]
struct Family {
    help: &'static str,
    kind: Kind,
    series: BTreeMap<Labels, Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
    Info,
}

/// Names and values.
type Labels = Vec<(&'static str, String)>;

#[derive(Clone, Debug)]
enum Value {
    Number(Number),
    Histogram(Histogram),
}

/// A number as it was counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Of things.
    Whole(u64),
    /// Of seconds, most often.
    Real(f64),
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
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Up to what each bucket holds, but for the last, which holds all that is larger; ascending.
    pub bounds: &'static [f64],
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
        let mut measures = Self::default();
        process::measure(&mut measures);
        measures.gauge("hemi_stage", "The stage that serves, counted from 1.", &[], stage.id());
        for life in stage.lives() {
            measures.owner = Some((life.kind, life.name.clone()));
            // It has told what it has told.
            let _ = catch_call(|| life.component.measure(&mut measures));
        }
        measures.owner = None;
        measures
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
        let new = || Family { help, kind, series: BTreeMap::new() };
        let family = self.families.entry(name).or_insert_with(new);
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
            (Self::Histogram(a), Self::Histogram(b)) if a.bounds == b.bounds => {
                a.sum += b.sum;
                a.counts.iter_mut().zip(&b.counts).for_each(|(a, b)| *a += b);
            }
            _ => {}
        }
    }
}
