//! `explain`: what components there are, and what properties they have.

use std::collections::BTreeMap;

use hemi_core::config::{DefaultValue, Property, suggest};
use hemi_core::{Entry, Place, Registry};
use serde_json::{Value, json};

use crate::{Call, Failure, term};

pub(crate) fn explain(Call { program, options, .. }: &Call<'_>) -> Result<(), Failure> {
    let registry = program.registry();
    let Some(sign) = options.operands.first() else {
        term::say(&match options.json {
            true => for_programs(&registry.entries().map(as_json).collect()),
            false => list(&registry),
        });
        return Ok(());
    };
    match registry.entry(sign) {
        Some(entry) => {
            term::say(&match options.json {
                true => for_programs(&as_json(entry)),
                false => describe(entry),
            });
            Ok(())
        }
        None => {
            let near = suggest(sign, registry.entries().map(Entry::sign));
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            Err(format!("there is no component `{sign}`{hint}").into())
        }
    }
}

/// All components, by their kinds.
fn list(registry: &Registry) -> String {
    let mut kinds: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in registry.entries() {
        kinds.entry(entry.kind()).or_default().push(entry);
    }
    let mut text = String::new();
    for (kind, entries) in kinds {
        text += &format!("{kind}\n");
        for entry in entries {
            text += &format!("  {:<16} {}\n", entry.sign(), first_sentence(entry.about()));
        }
    }
    text
}

/// Of what may be more, in one line.
fn first_sentence(text: &str) -> String {
    let paragraph = text.lines().map(str::trim).take_while(|line| !line.is_empty());
    let line = paragraph.collect::<Vec<_>>().join(" ");
    match line.split_once(". ") {
        Some((sentence, _)) => format!("{sentence}."),
        None => line,
    }
}

fn describe(entry: &Entry) -> String {
    let mut text = format!("{} ({}; {})\n", entry.sign(), entry.kind(), place(entry));
    text += &indented(entry.about(), 4);
    for property in entry.properties() {
        text += &format!("\n{}", describe_property(&property));
    }
    text
}

fn place(entry: &Entry) -> &'static str {
    match entry.place() {
        Place::Fixture => "stands in the stage, once, without a name",
        Place::Stage => "stands in the stage, with a name",
        Place::Referred => "stands in the stage, with a name by which others refer to it",
        Place::Inside => "stands inside another component",
    }
}

fn as_json(entry: &Entry) -> Value {
    let properties = entry.properties().into_iter().map(|property| {
        let (required, default) = match property.default {
            DefaultValue::Required => (true, Value::Null),
            DefaultValue::None => (false, Value::Null),
            DefaultValue::Value(value) => (false, value.into()),
        };
        json!({
            "name": property.name,
            "type": property.kind,
            "required": required,
            "default": default,
            "doc": unwrapped(property.doc),
        })
    });
    json!({
        "sign": entry.sign(),
        "kind": entry.kind(),
        "place": place(entry),
        "about": unwrapped(entry.about()),
        "properties": properties.collect::<Vec<_>>(),
    })
}

fn for_programs(value: &Value) -> String {
    format!("{value:#}\n")
}

/// Without the spaces that lines of a doc comment begin with.
fn unwrapped(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

fn describe_property(property: &Property) -> String {
    let default = match &property.default {
        DefaultValue::Required => "required".to_owned(),
        DefaultValue::None => "not set".to_owned(),
        DefaultValue::Value(value) => format!("default {value}"),
    };
    let head = format!(".{} = {}  ({default})\n", property.name, property.kind);
    head + &indented(property.doc, 4)
}

fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{:by$}{}\n", "", line.trim())).collect()
}
