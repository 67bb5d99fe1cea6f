//! What the parser makes of the tokens: the shape of the text, with nothing looked up yet.
use super::{
    condition::{Logic, Test},
    source::Span,
    value::{Data, Text},
};

/// What may stand between the braces of a component.
#[derive(Debug)]
pub(super) enum Item {
    Property(Property),
    Component(Component),
    /// `<path>`
    Include(Text),
}

/// `.name = value`
#[derive(Debug)]
pub(super) struct Property {
    /// Its span covers the dot.
    pub(super) name: Text,
    /// `None` if it is bad, and reported.
    pub(super) value: Option<Expr>,
}

/// `sign "name" condition { … }`
#[derive(Debug)]
pub(super) struct Component {
    pub(super) sign: Text,
    pub(super) name: Option<Text>,
    /// A condition, or `None` inside if it is bad.
    pub(super) condition: Option<Option<Logic<Test<Expr>>>>,
    pub(super) items: Vec<Item>,
    /// From `{` to `}`.
    pub(super) braces: Span,
}

/// A value before evaluation.
#[derive(Clone, Debug)]
pub(super) struct Expr {
    pub(super) span: Span,
    pub(super) form: Form,
}

#[derive(Clone, Debug)]
pub(super) enum Form {
    /// A value as it stands; never a list or a dict.
    Plain(Data),
    /// `%name`
    Constant(String),
    /// `.name`
    Reference(String),
    /// `$name`
    Variable(String),
    List(Vec<Expr>),
    Dict(Vec<(Text, Expr)>),
    /// `a + b`; at least two.
    Join(Vec<Expr>),
}
