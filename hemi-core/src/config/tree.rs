//! A loaded config: components with their properties, seen through [`Scope`]s.
use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use serde::de::DeserializeOwned;

use super::{
    condition::{Condition, Logic, Test},
    de,
    diagnostic::{Diagnostic, Diagnostics, Error},
    source::{Sources, Span},
    template::Variable,
    value::{Text, Value},
};

/// A config without mistakes in its text; whether it makes sense shows when it is read.
#[derive(Debug)]
pub struct Tree {
    sources: Arc<Sources>,
    /// The first is the root.
    nodes: Vec<Node>,
    mistakes: Diagnostics,
    flat: String,
}

impl Tree {
    pub(super) fn new(sources: Arc<Sources>, nodes: Vec<Node>, mistakes: Diagnostics) -> Self {
        Self { sources, nodes, mistakes, flat: String::new() }
    }

    pub(super) fn with_flat(self, flat: String) -> Self {
        Self { flat, ..self }
    }

    /// What is wrong with values, as far as it is known without their types. Nothing, if the tree
    /// comes from [`load`](super::load).
    pub(crate) fn mistakes(&self) -> &Diagnostics {
        &self.mistakes
    }

    /// The `stage`.
    pub fn root(&self) -> Scope<'_> {
        Scope { tree: self, id: 0 }
    }

    /// The texts of the config, to show places in.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// The config as one text, with what it includes.
    pub fn flat(&self) -> &str {
        &self.flat
    }

    /// What nobody has read: properties that no component knows, conditions where none may stand.
    ///
    /// To be asked when all components are created. `known` gives the names of the properties that
    /// the component of a scope knows. They become suggestions; a property that is known to its
    /// component, or to one inside, is no mistake even if it was not read.
    pub fn unread(&self, known: impl Fn(Scope<'_>) -> Vec<&'static str>) -> Diagnostics {
        let mut errors = Diagnostics::default();
        for (id, node) in self.nodes.iter().enumerate() {
            let scope = Scope { tree: self, id };
            if node.condition.is_some() && !node.condition_read.get() {
                let message = format!("`{}` takes no condition", node.sign.text);
                errors.push(Diagnostic::new(node.sign.span, message).help("remove the condition"));
            }
            let mut unread =
                node.properties.iter().filter(|property| !property.read.get()).peekable();
            if unread.peek().is_none() {
                continue;
            }
            let own = known(scope);
            // A property may stand here for the components inside to inherit.
            let all: Vec<_> = scope.descendants().flat_map(&known).chain(own.clone()).collect();
            errors.extend(
                unread
                    .filter(|property| !all.contains(&&*property.name.text))
                    .map(|property| unknown_property(node, property, &own, &all)),
            );
        }
        errors
    }

    /// Mistakes found while reading, as an error that can be shown.
    pub fn error(&self, errors: Diagnostics) -> Error {
        errors.into_error(self.sources.clone())
    }
}

/// More names than this are no help.
const LISTED: usize = 16;

fn unknown_property(node: &Node, property: &Property, own: &[&str], all: &[&str]) -> Diagnostic {
    let name = &property.name.text;
    let error = Diagnostic::new(property.name.span, format!("unknown property `.{name}`"))
        .did_you_mean(name, all.iter().copied(), |close| format!(".{close}"));
    let sign = &node.sign.text;
    match own {
        _ if error.help.is_some() => error,
        [] => error.help(format!("`{sign}` has no properties: remove it")),
        own if own.len() <= LISTED => error.help(format!("`{sign}` has .{}", own.join(" ."))),
        _ => error.help(format!("neither `{sign}` nor anything in it has such a property")),
    }
}

/// A component in a config.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) sign: Text,
    pub(super) name: Option<Text>,
    pub(super) condition: Option<Logic<Test<Vec<Text>>>>,
    pub(super) condition_read: Cell<bool>,
    pub(super) properties: Vec<Property>,
    pub(super) parent: Option<usize>,
    pub(super) children: Vec<usize>,
    /// Names of properties read here that stand in an enclosing component.
    pub(super) inherited: RefCell<BTreeSet<&'static str>>,
}

/// A property of a component.
#[derive(Debug)]
pub(super) struct Property {
    /// Its span covers the dot.
    pub(super) name: Text,
    /// None if it is bad, which is reported already.
    pub(super) value: Option<Value>,
    pub(super) read: Cell<bool>,
}

/// A component together with all that enclose it, whose properties it inherits.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    tree: &'a Tree,
    id: usize,
}

impl<'a> Scope<'a> {
    /// The word that the component starts with.
    pub fn sign(&self) -> &'a str {
        &self.node().sign.text
    }

    /// The name after the sign.
    pub fn name(&self) -> Option<&'a str> {
        self.node().name.as_ref().map(|name| &*name.text)
    }

    /// Where the sign stands.
    pub fn span(&self) -> Span {
        self.node().sign.span
    }

    /// Where the name stands; the sign, if there is none.
    pub fn name_span(&self) -> Span {
        self.node().name.as_ref().map_or(self.span(), |name| name.span)
    }

    /// The tree it belongs to.
    pub fn tree(&self) -> &'a Tree {
        self.tree
    }

    /// The enclosing component.
    pub fn outer(&self) -> Option<Scope<'a>> {
        self.node().parent.map(|id| Scope { tree: self.tree, id })
    }

    /// The components directly inside, in the order of the text.
    pub fn children(&self) -> impl Iterator<Item = Scope<'a>> + use<'a> {
        let tree = self.tree;
        self.node().children.iter().map(move |&id| Scope { tree, id })
    }

    /// The components inside at any depth.
    fn descendants(self) -> impl Iterator<Item = Scope<'a>> {
        let mut waiting: Vec<Scope<'a>> = self.children().collect();
        std::iter::from_fn(move || {
            let next = waiting.pop()?;
            waiting.extend(next.children());
            Some(next)
        })
    }

    /// A mistake of this component, shown at its sign.
    pub fn diagnostic(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(self.span(), message)
    }

    /// Where a property stands that this component has or inherits.
    pub fn property_span(&self, name: &str) -> Option<Span> {
        self.find(name).map(|(_, property)| property.name.span)
    }

    /// Reads typed properties: a struct whose fields are properties, a tuple of such structs, or
    /// `()`. What is not set here is looked up in the enclosing components, innermost first.
    ///
    /// May be called several times, for several groups of properties.
    ///
    /// # Errors
    /// All properties of wrong types, or else the first required one that is missing.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Diagnostics> {
        de::read(*self)
    }

    /// The condition, with the variables that may stand in it.
    ///
    /// # Errors
    /// Unknown variables and bad regular expressions.
    pub fn condition<V: Variable>(&self) -> Result<Option<Condition<V>>, Diagnostics> {
        self.node().condition_read.set(true);
        self.node().condition.as_ref().map(Condition::new).transpose()
    }

    /// Marks the condition as read: the component failed before it came to that.
    pub(crate) fn excuse_condition(&self) {
        self.node().condition_read.set(true);
    }

    /// Marks everything in the component as read: what is wrong with it is reported already.
    pub fn ignore(&self) {
        for scope in self.descendants().chain([*self]) {
            scope.node().condition_read.set(true);
            scope.node().properties.iter().for_each(|property| property.read.set(true));
        }
    }

    /// A hash of what the component is configured with: its sign, name, condition, properties
    /// (inherited ones too, once they are read) and everything inside. Spelling, comments and places
    /// do not count. Only good for comparisons within one process.
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash_into(&mut hasher);
        hasher.finish()
    }

    fn hash_into(self, hasher: &mut DefaultHasher) {
        let node = self.node();
        (&node.sign, &node.name, &node.condition).hash(hasher);
        let inherited = node.inherited.borrow();
        let outer =
            inherited.iter().filter_map(|name| self.find(name)).map(|(_, property)| property);
        let mut properties: Vec<_> = node.properties.iter().chain(outer).collect();
        properties.sort_by_key(|property| &property.name.text);
        properties.len().hash(hasher);
        for property in properties {
            (&property.name, &property.value).hash(hasher);
        }
        node.children.len().hash(hasher);
        for child in self.children() {
            child.hash_into(hasher);
        }
    }

    pub(super) fn node(&self) -> &'a Node {
        &self.tree.nodes[self.id]
    }

    /// Looks a property up, here and then outwards; also tells in which component it stands.
    fn find(&self, name: &str) -> Option<(Scope<'a>, &'a Property)> {
        std::iter::successors(Some(*self), Scope::outer).find_map(|scope| {
            let property = scope.node().properties.iter().find(|p| p.name.text == name)?;
            Some((scope, property))
        })
    }

    /// Looks a property up and marks it as read, with those of the same name that it overrides.
    pub(super) fn take(&self, name: &'static str) -> Option<&'a Property> {
        let (owner, property) = self.find(name)?;
        if owner.id != self.id {
            self.node().inherited.borrow_mut().insert(name);
        }
        for scope in std::iter::successors(Some(owner), Scope::outer) {
            for property in scope.node().properties.iter().filter(|p| p.name.text == name) {
                property.read.set(true);
            }
        }
        Some(property)
    }
}
