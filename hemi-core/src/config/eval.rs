//! Items to a tree: constants, references and joins become values.
use std::{
    cell::{Cell, RefCell},
    path::Path,
    sync::Arc,
};

use super::{
    condition::{Logic, Test},
    diagnostic::{Diagnostic, Diagnostics},
    source::{Constants, Sources, Span},
    syntax::{Component, Expr, Form, Item},
    tree::{Node, Property, Tree},
    value::{Data, Part, Text, Value},
};

/// Builds the tree, with the errors found so far and those of its values.
pub(super) fn evaluate(
    root: &Component,
    constants: &Constants,
    sources: Arc<Sources>,
    errors: Diagnostics,
) -> Tree {
    let mut evaluator =
        Evaluator { constants, errors, nodes: Vec::new(), open: Vec::new(), copied: 0 };
    evaluator.component(root, None);
    Tree::new(sources, evaluator.nodes, evaluator.errors)
}

struct Evaluator<'c> {
    constants: &'c Constants,
    errors: Diagnostics,
    nodes: Vec<Node>,
    /// The components around the place being evaluated, outermost first.
    open: Vec<Enclosing<'c>>,
    /// What references have copied so far, in bytes.
    copied: usize,
}

/// References may copy so many bytes: a few lines that refer to each other twice would fill any
/// memory.
const MAX_COPIED: usize = 64 << 20;

/// A component whose items are being evaluated.
struct Enclosing<'c> {
    id: usize,
    items: &'c [Item],
}

impl<'c> Evaluator<'c> {
    fn component(&mut self, component: &'c Component, parent: Option<usize>) -> usize {
        let id = self.nodes.len();
        let written = component.condition.as_ref().and_then(Option::as_ref);
        let condition = written.and_then(|condition| self.condition(condition));
        self.nodes.push(Node {
            sign: component.sign.clone(),
            name: component.name.clone(),
            condition,
            condition_read: Cell::new(false),
            properties: Vec::new(),
            parent,
            children: Vec::new(),
            inherited: RefCell::default(),
        });
        self.open.push(Enclosing { id, items: &component.items });
        for item in &component.items {
            match item {
                Item::Property(property) => {
                    self.property(id, &property.name, property.value.as_ref());
                }
                Item::Component(inner) => {
                    let inner = self.component(inner, Some(id));
                    self.nodes[id].children.push(inner);
                }
                // The loader has put their items in their place.
                Item::Include(_) => {}
            }
        }
        self.open.pop();
        id
    }

    fn property(&mut self, id: usize, name: &Text, value: Option<&Expr>) {
        let mut known = self.nodes[id].properties.iter().map(|property| &property.name);
        if let Some(first) = known.find(|known| *known == name) {
            let error = Diagnostic::new(name.span, format!("`.{}` is set twice", name.text))
                .help("remove one of them")
                .note(first.span, "first set here");
            self.errors.push(error);
            return;
        }
        let value = value.and_then(|value| self.value(value, Some(&name.text)));
        let property = Property { name: name.clone(), value, read: Cell::new(false) };
        self.nodes[id].properties.push(property);
    }

    /// `None` if the value is bad, which is then reported. `property` is what is being set.
    fn value(&mut self, expr: &Expr, property: Option<&str>) -> Option<Value> {
        let span = expr.span;
        let data = match &expr.form {
            Form::Plain(data) => data.clone(),
            Form::Constant(name) => Data::Text(self.constant(name, span)?),
            Form::Reference(name) => self.reference(name, span, property)?,
            Form::Variable(name) => {
                Data::Template(vec![Part::Variable(Text { span, text: name.clone() })])
            }
            Form::List(elements) => {
                let elements: Vec<_> =
                    elements.iter().map(|element| self.value(element, property)).collect();
                Data::List(elements.into_iter().collect::<Option<_>>()?)
            }
            Form::Dict(entries) => self.dict(entries, property)?,
            Form::Join(parts) => {
                let parts: Vec<_> = parts.iter().map(|part| self.value(part, property)).collect();
                self.join(parts.into_iter().collect::<Option<Vec<_>>>()?)?
            }
        };
        Some(Value { span, data })
    }

    fn dict(&mut self, entries: &[(Text, Expr)], property: Option<&str>) -> Option<Data> {
        let mut good = true;
        let mut dict: Vec<(Text, Value)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            if let Some((first, _)) = dict.iter().find(|(known, _)| known == key) {
                let message = format!("the key \"{}\" stands twice in this dict", key.text);
                let error = Diagnostic::new(key.span, message).help("remove one of them");
                self.errors.push(error.note(first.span, "first here"));
                good = false;
            }
            match self.value(value, property) {
                Some(value) => dict.push((key.clone(), value)),
                None => good = false,
            }
        }
        good.then_some(Data::Dict(dict))
    }

    fn join(&mut self, values: Vec<Value>) -> Option<Data> {
        let mut parts = Vec::new();
        for Value { span, data } in values {
            match data {
                Data::Text(text) => parts.push(Part::Text(Text { span, text })),
                Data::Template(more) => parts.extend(more),
                other => {
                    let message = format!("only strings can be joined with `+`, found {other}");
                    let help = "write it in quotes, or put list elements in one list";
                    self.errors.push(Diagnostic::new(span, message).help(help));
                    return None;
                }
            }
        }
        let texts: Option<String> = parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => Some(&*text.text),
                Part::Variable(_) => None,
            })
            .collect();
        Some(texts.map_or(Data::Template(parts), Data::Text))
    }

    fn constant(&mut self, name: &str, span: Span) -> Option<String> {
        if let Some(variable) = name.strip_prefix("env.") {
            if let Some(value) = self.constants.env.get(variable) {
                return Some(value.clone());
            }
            let known = self.constants.env.keys().map(|name| &**name);
            let mut error = Diagnostic::new(span, format!("the environment has no `{variable}`"))
                .did_you_mean(variable, known, |close| format!("%env.{close}"));
            error.help.get_or_insert_with(|| format!("set {variable} before the start"));
            self.errors.push(error);
            return None;
        }
        let path: &Path = match name {
            "topDir" => &self.constants.top_dir,
            "logDir" => &self.constants.log_dir,
            "tmpDir" => &self.constants.tmp_dir,
            _ => &self.constants.var_dir,
        };
        let text = path.to_str();
        if text.is_none() {
            let message = format!("the directory `{}` of `%{name}` is not UTF-8", path.display());
            self.errors.push(Diagnostic::new(span, message).help("rename the directory"));
        }
        text.map(str::to_owned)
    }

    /// The value of a property that is set further up, here or in an enclosing component.
    fn reference(&mut self, name: &str, span: Span, property: Option<&str>) -> Option<Data> {
        for open in self.open.iter().rev() {
            let properties = &self.nodes[open.id].properties;
            if let Some(property) = properties.iter().find(|p| p.name.text == name) {
                // Some configs set a property only to refer to it.
                property.read.set(true);
                // What refers to a bad value is not worth another message.
                let data = &property.value.as_ref()?.data;
                self.copied = self.copied.saturating_add(data.weight());
                if self.copied <= MAX_COPIED {
                    return Some(data.clone());
                }
                let message = "the references of this config copy too much";
                let error = Diagnostic::new(span, message);
                self.errors.push(error.help("refer to smaller values, or less often"));
                return None;
            }
        }
        if property == Some(name) {
            let error = Diagnostic::new(span, format!("`.{name}` refers to itself"));
            self.errors.push(error.help("write its value"));
            return None;
        }
        let below = self.open.iter().rev().find_map(|open| {
            open.items.iter().find_map(|item| match item {
                Item::Property(property) if property.name.text == name => Some(property.name.span),
                _ => None,
            })
        });
        let error = match below {
            Some(place) => Diagnostic::new(span, format!("`.{name}` is not set yet"))
                .help("a property can be referred to only below the place where it is set")
                .note(place, "set here"),
            None => {
                let nodes = &self.nodes;
                let visible = self.open.iter().flat_map(|open| &nodes[open.id].properties);
                let names = visible.map(|property| &*property.name.text);
                let mut error = Diagnostic::new(span, format!("`.{name}` is not set"))
                    .did_you_mean(name, names, |close| format!(".{close}"));
                error.help.get_or_insert_with(|| {
                    "refer to a property of this component, or of one around it".into()
                });
                error
            }
        };
        self.errors.push(error);
        None
    }

    fn condition(&mut self, condition: &Logic<Test<Expr>>) -> Option<Logic<Test<Vec<Text>>>> {
        condition.try_map(&mut |test| {
            Some(match test {
                Test::Path { check, negated } => Test::Path { check: *check, negated: *negated },
                Test::Compare { variable, comparison, right } => Test::Compare {
                    variable: variable.clone(),
                    comparison: *comparison,
                    right: self.patterns(right)?,
                },
            })
        })
    }

    /// The right side of a comparison: a string or a list of strings.
    fn patterns(&mut self, right: &Expr) -> Option<Vec<Text>> {
        let value = self.value(right, None)?;
        let values = match value.data {
            Data::List(values) if values.is_empty() => {
                let error = Diagnostic::new(value.span, "an empty list equals nothing");
                self.errors.push(error.help("put at least one string into it"));
                return None;
            }
            Data::List(values) => values,
            _ => vec![value],
        };
        let patterns: Vec<Option<Text>> =
            values.into_iter().map(|value| self.pattern(value)).collect();
        patterns.into_iter().collect()
    }

    fn pattern(&mut self, Value { span, data }: Value) -> Option<Text> {
        let error = match data {
            Data::Text(text) => return Some(Text { span, text }),
            Data::Template(_) => Diagnostic::new(span, "a variable cannot stand on the right side")
                .help("compare a variable with strings only"),
            other => Diagnostic::new(span, format!("expected a string, found {other}"))
                .help("variables are compared as text: put it in quotes"),
        };
        self.errors.push(error);
        None
    }
}
