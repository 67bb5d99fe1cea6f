//! How stages and engines end, with components that do not want to.

use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hemi_core::config::{KindName, Source};
use hemi_core::{
    Component, CreateCx, Engine, Explain, Kind, Lifecycle, Place, Prepare, Rank, Registry, Result,
    Run,
};
use hemi_test::eventually;
use serde::Deserialize;

/// A kind of each rank that a test needs.
#[derive(Debug)]
struct Of<const RANK: u8>;

impl<const RANK: u8> KindName for Of<RANK> {
    const NAME: &'static str = "part";
}

impl<const RANK: u8> Kind for Of<RANK> {
    type Object = dyn Send + Sync;
    const RANK: Rank = Rank(RANK);
    const PLACE: Place = Place::Stage;
}

/// Writes down what happens to it.
#[derive(Debug, Deserialize, Explain)]
struct Part<const RANK: u8> {
    /// How it ends: `well`, `panicking` or `never`.
    ends: String,
    /// What it is part of.
    of: String,
}

const PATIENCE: Duration = Duration::from_secs(30);

static EVENTS: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

impl<const RANK: u8> Part<RANK> {
    fn note(&self, what: &str) {
        EVENTS.lock().unwrap().push((self.of.clone(), format!("{what} {RANK}")));
    }
}

/// Parts of the engine that is dropped.
static RUNNING: AtomicU64 = AtomicU64::new(0);

fn events(of: &str) -> Vec<String> {
    let events = EVENTS.lock().unwrap();
    events.iter().filter(|(whose, _)| whose == of).map(|(_, what)| what.clone()).collect()
}

macro_rules! parts {
    ($($rank:literal $sign:literal)*) => {$(
        impl Component for Part<$rank> {
            const SIGN: &'static str = $sign;
            type Config = Self;

            fn create(config: Self, _: &mut CreateCx<'_>) -> Result<Self> {
                config.note("create");
                Ok(config)
            }
        }
    )*

    fn registry() -> Registry {
        let mut registry = Registry::new();
        $(registry.add::<Of<$rank>, Part<$rank>>(|part| part);)*
        registry
    }};
}

parts!(10 "low" 50 "middle" 90 "high");

impl<const RANK: u8> Lifecycle for Part<RANK> {
    fn prepare(&self, _: &Prepare<'_>) -> Result<()> {
        self.note("prepare");
        Ok(())
    }

    async fn run(&self, cx: &Run) {
        RUNNING.fetch_add(u64::from(self.of == "dropped"), Ordering::SeqCst);
        let mut told = Told { part: self, to_end: false };
        cx.shut().cancelled().await;
        told.to_end = true;
        self.note("end");
        match self.ends.as_str() {
            "panicking" => panic!("asked to"),
            "never" => {
                let _aborted = Aborted(self);
                std::future::pending::<()>().await;
            }
            _ => {}
        }
    }
}

/// Writes down if it goes without having been told to.
struct Told<'a, const RANK: u8> {
    part: &'a Part<RANK>,
    to_end: bool,
}

impl<const RANK: u8> Drop for Told<'_, RANK> {
    fn drop(&mut self) {
        if !self.to_end {
            self.part.note("cut");
        }
    }
}

/// Writes down that a part that never ends was ended.
struct Aborted<'a, const RANK: u8>(&'a Part<RANK>);

impl<const RANK: u8> Drop for Aborted<'_, RANK> {
    fn drop(&mut self) {
        self.0.note("abort");
    }
}

fn engine(of: &str, ends: &str) -> Engine {
    let mut engine = Engine::on(registry(), NonZeroUsize::new(2).unwrap()).unwrap();
    engine.load(&config(of, ends)).unwrap();
    engine
}

fn config(of: &str, ends: &str) -> Source {
    let part = |sign| format!("{sign} \"{sign}\" {{ .of = \"{of}\"  .ends = \"{ends}\" }}");
    let parts = ["high", "low", "middle"].map(part).concat();
    Source::text("parts", format!("stage {{ {parts} }}"))
}

fn quit(engine: Engine) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(engine.quit());
}

const STARTS: [&str; 6] =
    ["create 10", "create 50", "create 90", "prepare 10", "prepare 50", "prepare 90"];

#[test]
fn ranks_start_from_below_and_end_from_above() {
    for ends in ["well", "panicking"] {
        quit(engine(ends, ends));
        let expected = [&STARTS[..], &["end 90", "end 50", "end 10"]].concat();
        assert_eq!(events(ends), expected, "{ends}");
    }
}

#[test]
fn who_does_not_end_is_given_up() {
    let mut engine = engine("stubborn", "never").grace(Duration::from_millis(100));
    // The engine goes on: what is left of the stage ends by the stage's own doing.
    engine.load(&config("next", "well")).unwrap();
    let ended = || {
        let mut events = events("stubborn").split_off(STARTS.len());
        events.sort_unstable();
        // Those below it never had their turn.
        events == ["abort 90", "cut 10", "cut 50", "end 90"]
    };
    assert!(eventually(PATIENCE, ended), "{:?}", events("stubborn"));
    quit(engine);
}

#[test]
fn an_engine_that_is_dropped_takes_its_components_along() {
    let engine = engine("dropped", "never");
    assert_eq!(events("dropped"), STARTS);
    // Until they run there is nothing to cut.
    assert!(eventually(PATIENCE, || RUNNING.load(Ordering::SeqCst) == 3));
    drop(engine);
    let mut events = events("dropped").split_off(STARTS.len());
    events.sort_unstable();
    assert_eq!(events, ["cut 10", "cut 50", "cut 90"]);
}
