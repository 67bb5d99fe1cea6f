//! From a config to the components of a stage. Nothing here touches the system: `check` does all of it.

use std::any::TypeId;
use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use crate::component::{CreateCx, Kind, Place};
use crate::config::{self, Constants, Diagnostic, Diagnostics, Scope, Source, Span, Tree};
use crate::listen::Address;
use crate::panics::catch_call;
use crate::registry::{Entry, Factory, Registry};
use crate::{Error, Result};

use super::{Carried, Identity, Parts};

/// What a server does at an address, alone.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Claim {
    Listen,
    Receive,
}

/// A stage that was built.
pub(crate) struct Built {
    pub(crate) parts: Parts,
    pub(crate) carried: Carried,
    pub(crate) needs: Needs,
}

/// A stage being built.
pub(crate) struct Build {
    pub(crate) parts: Parts,
    pub(crate) carried: Carried,
    /// What the stage before has to hand over.
    pub(crate) earlier: Arc<Carried>,
    pub(crate) dirs: Arc<Constants>,
    pub(crate) cores: usize,
    errors: Diagnostics,
    /// Components whose creation was begun, by the place of their sign.
    begun: HashSet<Span>,
    /// Those of them that came to be.
    made: HashSet<Span>,
    /// Kinds and names of components that did not: what refers to them is not wrong for that.
    failed: HashSet<(TypeId, String)>,
    /// Where servers listen or receive, with the place that says so.
    pub(crate) claimed: HashMap<(Claim, Address), Span>,
    unnamed: usize,
    pub(crate) needs: RefCell<Needs>,
}

/// The files, directories and addresses that the components of a config have to do with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// What they read.
    pub read: BTreeSet<PathBuf>,
    /// What they write, and read.
    pub written: BTreeSet<PathBuf>,
    /// Where they listen or receive.
    pub addresses: HashSet<Address>,
}

impl Build {
    pub(crate) fn new(dirs: Arc<Constants>, cores: usize, earlier: Arc<Carried>) -> Self {
        Self {
            parts: Parts::new(),
            carried: Carried::new(),
            earlier,
            dirs,
            cores,
            errors: Diagnostics::default(),
            begun: HashSet::new(),
            made: HashSet::new(),
            failed: HashSet::new(),
            claimed: HashMap::new(),
            unnamed: 0,
            needs: RefCell::default(),
        }
    }

    /// Creates the components of a config, in the order of ranks: each may refer to those before it.
    ///
    /// # Errors
    /// With all mistakes that were found.
    pub(crate) fn config(mut self, registry: &Registry, tree: &Tree) -> Result<Built> {
        self.errors.extend(tree.mistakes().iter().cloned());
        let mut tops: Vec<(&Entry, Scope<'_>)> = Vec::new();
        for scope in tree.root().children() {
            match registry.entry(scope.sign()) {
                Some(entry) if entry.place() != Place::Inside => tops.push((entry, scope)),
                _ => self.misplaced(registry, scope, |e| e.place() != Place::Inside),
            }
        }
        let absent = registry.entries().filter(|entry| {
            let written = tops.iter().any(|(e, _)| e.sign() == entry.sign());
            entry.place() == Place::Fixture && !written
        });
        let defaults = absent.map(|entry| {
            let text = format!("stage {{ {} {{}} }}", entry.sign());
            Ok((entry, config::load(&Source::text("defaults", text), &self.dirs)?))
        });
        let defaults: Vec<(&Entry, Tree)> = defaults.collect::<Result<_>>()?;
        // Fixtures come before all others.
        for (entry, tree) in &defaults {
            tree.root().children().for_each(|scope| entry.create(registry, scope, &mut self));
        }
        // Their places are not of this config.
        self.begun.clear();
        self.made.clear();
        tops.sort_by_key(|(entry, _)| entry.rank());
        for (entry, scope) in tops {
            entry.create(registry, scope, &mut self);
        }
        self.made.insert(tree.root().span());
        for scope in tree.root().children() {
            self.misplaced_inside(registry, scope);
        }
        self.errors.extend(tree.unread(|scope| known(registry, scope.sign())));
        if self.errors.is_empty() {
            self.errors.extend(self.parts.unused());
        }
        if self.errors.is_empty() {
            let needs = self.needs.into_inner();
            return Ok(Built { parts: self.parts, carried: self.carried, needs });
        }
        Err(tree.error(self.errors).into())
    }

    /// Creates one component; if it fails, its errors are kept.
    pub(crate) fn create<K: Kind>(
        &mut self,
        registry: &Registry,
        factory: &Factory<K>,
        scope: Scope<'_>,
    ) -> Option<Arc<K::Object>> {
        self.begun.insert(scope.span());
        let name = self.name::<K>(scope)?;
        let identity = Identity { kind: K::NAME, name: name.clone(), digest: 0 };
        let made = catch_call(|| factory(&mut CreateCx { registry, scope, build: self, identity }))
            .unwrap_or_else(|panic| {
                Err(Error::other(format!("{} panicked: {panic}", scope.sign())))
            });
        let added = made.and_then(|(object, life)| {
            self.parts.insert::<K>(name.clone(), Some(scope.name_span()), object.clone(), life)?;
            Ok(object)
        });
        match added {
            Ok(object) => {
                self.made.insert(scope.span());
                Some(object)
            }
            Err(e) => {
                scope.excuse_condition();
                self.errors.extend(e.into_diagnostics(scope.span()));
                self.failed.insert((TypeId::of::<K>(), name));
                self.see_inside(registry, scope);
                None
            }
        }
    }

    /// Finds the mistakes inside a component that failed before it asked for what is inside it.
    fn see_inside(&mut self, registry: &Registry, failed: Scope<'_>) {
        for scope in failed.children() {
            match registry.entry(scope.sign()) {
                _ if self.begun.contains(&scope.span()) => {}
                Some(entry) if entry.place() == Place::Inside => {
                    entry.create(registry, scope, self);
                }
                _ => self.misplaced(registry, scope, |e| e.place() == Place::Inside),
            }
        }
    }

    /// The component of this kind and name. If it failed, the error is empty: its own mistakes are told.
    pub(crate) fn find<K: Kind>(
        &self,
        name: &str,
        missing: impl FnOnce() -> Error,
    ) -> Result<Arc<K::Object>> {
        self.parts.find::<K>(name).ok_or_else(|| {
            match self.failed.contains(&(TypeId::of::<K>(), name.to_owned())) {
                true => Diagnostics::default().into(),
                false => missing(),
            }
        })
    }

    /// What the stage before has of this identity and type, else what `make` makes.
    pub(crate) fn carry<T: Send + Sync + 'static>(
        &mut self,
        identity: Identity,
        make: impl FnOnce() -> T,
    ) -> Arc<T> {
        let key = (identity, TypeId::of::<T>());
        let state = self.earlier.get(&key).cloned().unwrap_or_else(|| Arc::new(make()));
        self.carried.insert(key, state.clone());
        state.downcast().unwrap_or_else(|_| unreachable!("the key holds the type"))
    }

    fn name<K: Kind>(&mut self, scope: Scope<'_>) -> Option<String> {
        match (K::PLACE, scope.name()) {
            (Place::Fixture, None) => Some(K::NAME.to_owned()),
            (Place::Fixture, Some(_)) => {
                let message = format!("there is one {} in a stage: it takes no name", K::NAME);
                self.errors
                    .push(Diagnostic::new(scope.name_span(), message).help("remove the name"));
                self.failed.insert((TypeId::of::<K>(), K::NAME.to_owned()));
                None
            }
            (Place::Stage | Place::Referred, None) => {
                let diagnostic = scope.diagnostic(format!("`{}` needs a name", scope.sign()));
                self.errors.push(diagnostic.help(format!("write `{} \"name\" {{`", scope.sign())));
                None
            }
            (_, Some(name)) => Some(name.to_owned()),
            (Place::Inside, None) => {
                self.unnamed += 1;
                Some(format!("{}#{}", scope.sign(), self.unnamed))
            }
        }
    }

    /// Finds the components that the one around them, which came to be, did not ask for.
    fn misplaced_inside(&mut self, registry: &Registry, outer: Scope<'_>) {
        for scope in outer.children() {
            if self.begun.contains(&scope.span()) {
                self.misplaced_inside(registry, scope);
            } else if self.made.contains(&outer.span()) {
                self.misplaced(registry, scope, |e| e.place() == Place::Inside);
            }
        }
    }

    fn misplaced(&mut self, registry: &Registry, scope: Scope<'_>, fits: impl Fn(&Entry) -> bool) {
        scope.ignore();
        let sign = scope.sign();
        self.errors.push(match registry.entry(sign) {
            Some(entry) => {
                let outer = scope.outer().map_or("stage", |outer| outer.sign());
                let kind = Some(entry.kind()).filter(|kind| *kind != sign);
                let kind = kind.map(|kind| format!("{kind} ")).unwrap_or_default();
                scope.diagnostic(format!("{kind}`{sign}` cannot stand in `{outer}`"))
            }
            None => {
                let signs = registry.entries().filter(|entry| fits(entry)).map(Entry::sign);
                let diagnostic = scope.diagnostic(format!("unknown component `{sign}`"));
                diagnostic.did_you_mean(sign, signs, str::to_owned)
            }
        });
    }
}

fn known(registry: &Registry, sign: &str) -> Vec<&'static str> {
    let properties = registry.entry(sign).map(Entry::properties).unwrap_or_default();
    properties.iter().map(|property| property.name).collect()
}
