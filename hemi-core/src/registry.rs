//! The components a program knows, by their signs.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use crate::component::{Component, CreateCx, DynLifecycle, Kind, Place, Rank};
use crate::config::{Property, Scope};
use crate::stage::Build;
use crate::{Explain, Result};

/// A made component: what others hold of it, and its life.
pub(crate) type Made<K> = (Arc<<K as Kind>::Object>, Arc<dyn DynLifecycle>);

/// Makes components of kind `K` that have one sign.
pub(crate) type Factory<K> = Box<dyn Fn(&mut CreateCx<'_>) -> Result<Made<K>> + Send + Sync>;

/// What a program knows about one sign.
pub struct Entry {
    sign: &'static str,
    kind: &'static str,
    kind_id: TypeId,
    rank: Rank,
    place: Place,
    about: fn() -> &'static str,
    properties: fn() -> Vec<Property>,
    /// A `Factory<K>`.
    factory: Box<dyn Any + Send + Sync>,
    create: fn(&Registry, &Entry, Scope<'_>, &mut Build),
}

impl Entry {
    /// The keyword in a config.
    #[must_use]
    pub fn sign(&self) -> &'static str {
        self.sign
    }

    /// The name of its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Where it stands.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// What it is for.
    #[must_use]
    pub fn about(&self) -> &'static str {
        (self.about)()
    }

    /// Its properties.
    #[must_use]
    pub fn properties(&self) -> Vec<Property> {
        (self.properties)()
    }

    pub(crate) fn rank(&self) -> Rank {
        self.rank
    }

    pub(crate) fn create(&self, registry: &Registry, scope: Scope<'_>, build: &mut Build) {
        (self.create)(registry, self, scope, build);
    }
}

/// The components a program knows. Nothing is registered behind its back: each crate has a `register`
/// function, which the program calls, and adds its own.
#[derive(Default)]
pub struct Registry {
    entries: BTreeMap<&'static str, Entry>,
    tools: BTreeMap<&'static str, Tool>,
}

/// Does something for an operator who has called the program with these arguments, and says what comes of it; or why
/// nothing does.
pub type Tool = fn(arguments: &[String], out: &mut dyn Write) -> std::result::Result<(), String>;

impl Registry {
    /// One with the fixtures of this crate.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Self::default();
        crate::register(&mut registry);
        registry
    }

    /// Adds a component of kind `K`. The crate of the kind wraps this into a method of a trait of its
    /// own, as in `registry.handlet::<Hello>()`.
    ///
    /// # Panics
    /// When the sign is taken: a mistake of the program, found when it first starts.
    pub fn add<K: Kind, C: Component>(&mut self, erase: fn(Arc<C>) -> Arc<K::Object>) -> &mut Self {
        self.add_with::<K, C>(erase, |component| component)
    }

    /// The same, where the kind gives its components their life.
    ///
    /// # Panics
    /// See [`Registry::add`].
    pub fn add_with<K: Kind, C: Component>(
        &mut self,
        erase: fn(Arc<C>) -> Arc<K::Object>,
        live: fn(Arc<C>) -> Arc<dyn DynLifecycle>,
    ) -> &mut Self {
        let factory: Factory<K> = Box::new(move |cx| {
            let config = cx.scope.read::<C::Config>()?;
            // What is inherited counts too, once it is read.
            cx.identity.digest = cx.scope.digest();
            let component = Arc::new(C::create(config, cx)?);
            Ok((erase(component.clone()), live(component)))
        });
        let entry = Entry {
            sign: C::SIGN,
            kind: K::NAME,
            kind_id: TypeId::of::<K>(),
            rank: K::RANK,
            place: K::PLACE,
            about: || C::ABOUT.unwrap_or_else(C::Config::about),
            properties: C::Config::properties,
            factory: Box::new(factory),
            create: |registry, entry, scope, build| {
                if let Some(factory) = entry.factory.downcast_ref::<Factory<K>>() {
                    let _ = build.create::<K>(registry, factory, scope);
                }
            },
        };
        let taken = self.entries.insert(C::SIGN, entry).is_some();
        assert!(!taken, "the sign `{}` is registered twice", C::SIGN);
        self
    }

    /// Adds what an action of the command line does, where that is the business of a crate.
    pub fn tool(&mut self, action: &'static str, tool: Tool) -> &mut Self {
        self.tools.insert(action, tool);
        self
    }

    /// What does that; none if no crate of the program does.
    #[must_use]
    pub fn tool_of(&self, action: &str) -> Option<Tool> {
        self.tools.get(action).copied()
    }

    /// All entries, by sign.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// What is known about a sign.
    #[must_use]
    pub fn entry(&self, sign: &str) -> Option<&Entry> {
        self.entries.get(sign)
    }

    pub(crate) fn find<K: Kind>(&self, sign: &str) -> Option<&Factory<K>> {
        let entry = self.entries.get(sign)?;
        (entry.kind_id == TypeId::of::<K>()).then_some(())?;
        entry.factory.downcast_ref()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.entries.keys()).finish()
    }
}
