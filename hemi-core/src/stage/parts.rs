//! The components of a stage, by kind and name, and in the order of their ranks.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::component::{DynLifecycle, Kind, Place, Rank};
use crate::config::{Diagnostic, Ref, Span, suggest};
use crate::{Error, Result};

/// The components of a stage.
///
/// A config fills it; so does a program that builds its stage in code: see [`Parts::add`].
#[derive(Default)]
pub struct Parts {
    named: HashMap<(TypeId, String), Named>,
    lives: BTreeMap<Rank, Vec<Life>>,
}

struct Named {
    /// An `Arc<K::Object>`.
    object: Box<dyn Any + Send + Sync>,
    kind: &'static str,
    place: Place,
    span: Option<Span>,
    used: AtomicBool,
}

/// One component's life, and what to call it.
pub(crate) struct Life {
    pub(crate) rank: Rank,
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) component: Arc<dyn DynLifecycle>,
}

impl Parts {
    /// An empty stage, to be filled by code.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a component that others find by its name.
    ///
    /// # Errors
    /// When one of that kind and name is there.
    pub fn add<K: Kind>(
        &mut self,
        name: &str,
        object: Arc<K::Object>,
        component: Arc<dyn DynLifecycle>,
    ) -> Result<()> {
        self.insert::<K>(name.to_owned(), None, object, component)
    }

    /// Adds the life of a component that stands inside another, which knows it already.
    pub fn add_inner<K: Kind>(&mut self, name: &str, component: Arc<dyn DynLifecycle>) {
        let life = Life { rank: K::RANK, kind: K::NAME, name: name.to_owned(), component };
        self.lives.entry(K::RANK).or_default().push(life);
    }

    pub(crate) fn insert<K: Kind>(
        &mut self,
        name: String,
        span: Option<Span>,
        object: Arc<K::Object>,
        component: Arc<dyn DynLifecycle>,
    ) -> Result<()> {
        if K::PLACE != Place::Inside {
            let key = (TypeId::of::<K>(), name.clone());
            if let Some(first) = self.named.get(&key) {
                let message = format!("two {}s are named \"{name}\"", K::NAME);
                return Err(match (span, first.span) {
                    (Some(span), Some(first)) => {
                        Diagnostic::new(span, message).note(first, "the first is here").into()
                    }
                    _ => Error::other(message),
                });
            }
            let (used, object) = (AtomicBool::new(false), Box::new(object));
            let named = Named { object, kind: K::NAME, place: K::PLACE, span, used };
            self.named.insert(key, named);
        }
        self.add_inner::<K>(&name, component);
        Ok(())
    }

    /// A component by its kind and name.
    #[must_use]
    pub fn find<K: Kind>(&self, name: &str) -> Option<Arc<K::Object>> {
        let named = self.named.get(&(TypeId::of::<K>(), name.to_owned()))?;
        named.used.store(true, Ordering::Relaxed);
        named.object.downcast_ref::<Arc<K::Object>>().cloned()
    }

    /// All components of a kind, with their names, in the order of these.
    #[must_use]
    pub fn all<K: Kind>(&self) -> Vec<(&str, Arc<K::Object>)> {
        let named = self.named.iter().filter(|((kind, _), _)| *kind == TypeId::of::<K>());
        let object = |named: &Named| named.object.downcast_ref::<Arc<K::Object>>().cloned();
        let mut all: Vec<_> =
            named.filter_map(|((_, name), named)| Some((name.as_str(), object(named)?))).collect();
        all.sort_unstable_by_key(|(name, _)| *name);
        all
    }

    /// The mistake of referring to a component that there is none of.
    pub(crate) fn dangling<K: Kind>(&self, to: &Ref<K>) -> Diagnostic {
        let message = format!("no {} is named \"{}\"", K::NAME, to.name());
        let names = || self.named.keys().filter(|k| k.0 == TypeId::of::<K>()).map(|k| &*k.1);
        let diagnostic = Diagnostic::new(to.span(), message);
        match suggest(to.name(), names()) {
            Some(near) => diagnostic.help(format!("did you mean \"{near}\"?")),
            None if names().next().is_none() => diagnostic.help("there is none in this stage"),
            None => diagnostic,
        }
    }

    /// Components that only make sense if another refers to them, and that nobody refers to.
    pub(crate) fn unused(&self) -> impl Iterator<Item = Diagnostic> {
        self.named.iter().filter_map(|((_, name), part)| {
            let unused = part.place == Place::Referred && !part.used.load(Ordering::Relaxed);
            let message = format!("nothing uses the {} \"{name}\"", part.kind);
            let hint = "refer to it by its name, or remove it";
            part.span.filter(|_| unused).map(|span| Diagnostic::new(span, message).help(hint))
        })
    }

    pub(crate) fn ranks(&self) -> impl Iterator<Item = Rank> {
        self.lives.keys().copied()
    }

    pub(crate) fn lives(&self) -> impl Iterator<Item = &Life> {
        self.lives.values().flatten()
    }
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lives().map(|l| format!("{} \"{}\"", l.kind, l.name))).finish()
    }
}
