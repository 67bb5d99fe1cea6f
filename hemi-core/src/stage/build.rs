//! From a config to the components of a stage. Nothing here touches the system: `check` does all of it.

use std::sync::Arc;

use crate::component::{CreateCx, Kind, Place};
use crate::config::{Constants, Diagnostic, Diagnostics, Node, Scope, Tree, suggest};
use crate::panics::catch_call;
use crate::registry::{Entry, Factory, Registry};
use crate::{Error, Result};

use super::{Carried, Identity, Parts};

/// A stage being built.
#[derive(Default)]
pub(crate) struct Build {
    pub(crate) parts: Parts,
    pub(crate) carried: Carried,
    pub(crate) earlier: Option<Arc<Carried>>,
    pub(crate) dirs: Arc<Constants>,
    pub(crate) cores: usize,
    errors: Diagnostics,
    unnamed: usize,
}

impl Build {
    /// Creates the components of a config, in the order of ranks: each may refer to those before it.
    ///
    /// # Errors
    /// With all mistakes that were found.
    pub(crate) fn config(mut self, registry: &Registry, tree: &Tree) -> Result<Self> {
        let stage = tree.scope();
        let empty = Node::synthetic("");
        let mut tops: Vec<(&Entry, Scope<'_>)> = Vec::new();
        for node in tree.root().children() {
            match registry.entry(node.sign()) {
                Some(entry) if entry.place() != Place::Inside => {
                    tops.push((entry, stage.inside(node)));
                }
                _ => self.errors.push(misplaced(registry, node, "the stage", |p| p != Place::Inside)),
            }
        }
        let absent = registry.entries().filter(|entry| {
            let written = tops.iter().any(|(e, _)| e.sign() == entry.sign());
            entry.place() == Place::Fixture && !written
        });
        let absent: Vec<_> = absent.map(|entry| (entry, stage.inside(&empty))).collect();
        tops.extend(absent);
        tops.sort_by_key(|(entry, _)| entry.rank());
        for (entry, scope) in tops {
            entry.create(registry, scope, &mut self);
        }
        self.misplaced_inside(registry, tree.root());
        self.errors.extend(tree.unread(|sign| {
            registry.entry(sign).map(|e| e.properties().iter().map(|p| p.name).collect()).unwrap_or_default()
        }));
        if self.errors.is_empty() {
            self.errors.extend(self.parts.unused());
        }
        if self.errors.is_empty() {
            return Ok(self);
        }
        Err(tree.error(std::mem::take(&mut self.errors)).into())
    }

    /// Creates one component; if it fails, its errors are kept.
    pub(crate) fn create<K: Kind>(
        &mut self,
        registry: &Registry,
        factory: &Factory<K>,
        scope: Scope<'_>,
    ) -> Option<Arc<K::Object>> {
        let node = scope.node();
        node.mark_created();
        let span = node.is_written().then(|| node.span());
        let name = match (K::PLACE, node.name()) {
            (Place::Fixture, None) => K::NAME.to_owned(),
            (Place::Fixture, Some(_)) => {
                self.errors.push(Diagnostic::new(node.span(), format!("{} takes no name", K::NAME)));
                return None;
            }
            (Place::Stage | Place::Referred, None) => {
                let diagnostic = Diagnostic::new(node.span(), format!("a {} needs a name", K::NAME));
                self.errors.push(diagnostic.help(format!("write `{} \"name\" {{`", node.sign())));
                return None;
            }
            (_, Some(name)) => name.to_owned(),
            (Place::Inside, None) => {
                self.unnamed += 1;
                format!("{}#{}", node.sign(), self.unnamed)
            }
        };
        let identity = Identity { kind: K::NAME, name: name.clone(), digest: scope.digest() };
        let made = catch_call(|| factory(&mut CreateCx { registry, scope, build: self, identity }))
            .unwrap_or_else(|panic| Err(Error::other(format!("{} panicked: {panic}", node.sign()))));
        let added = made.and_then(|(object, life)| {
            self.parts.insert::<K>(name, span, object.clone(), life)?;
            Ok(object)
        });
        added.map_err(|e| self.errors.extend(e.into_diagnostics(span))).ok()
    }

    /// Finds the components that no component around them asked for.
    fn misplaced_inside(&mut self, registry: &Registry, outer: &Node) {
        for node in outer.children() {
            if registry.entry(node.sign()).is_none() && node.is_created_inside(outer) {
                continue;
            }
            self.misplaced_inside(registry, node);
        }
    }
}

fn misplaced(
    registry: &Registry,
    node: &Node,
    outer: &str,
    fits: impl Fn(Place) -> bool,
) -> Diagnostic {
    match registry.entry(node.sign()) {
        Some(entry) => {
            let message = format!("{} `{}` cannot stand in {outer}", entry.kind(), entry.sign());
            Diagnostic::new(node.span(), message)
        }
        None => {
            let message = format!("unknown component `{}`", node.sign());
            let signs = registry.entries().filter(|e| fits(e.place())).map(Entry::sign);
            let diagnostic = Diagnostic::new(node.span(), message);
            match suggest(node.sign(), signs) {
                Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                None => diagnostic,
            }
        }
    }
}
