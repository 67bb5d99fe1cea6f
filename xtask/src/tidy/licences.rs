//! The licences of all dependencies against the list in `deny.toml`, which cargo-deny reads too.

use std::fs;

use serde_json::Value;

use crate::Result;
use crate::cargo::root;

pub(super) fn check(metadata: &Value) -> Result<Vec<String>> {
    let deny = fs::read_to_string(root().join("deny.toml"))?;
    let allowed = allowed_licences(&deny).ok_or("deny.toml: no list of allowed licences")?;
    let packages = metadata.get("packages").and_then(Value::as_array).ok_or("no packages")?;
    Ok(packages
        .iter()
        .filter_map(|package| {
            let name = package.get("name")?.as_str()?;
            match package.get("license").and_then(Value::as_str) {
                None => Some(format!("{name}: names no licence")),
                Some(licence) if permits(licence, &allowed) => None,
                Some(licence) => Some(format!("{name}: {licence} is not allowed by deny.toml")),
            }
        })
        .collect())
}

/// The strings of `allow = [...]` in the section `[licenses]`.
fn allowed_licences(deny: &str) -> Option<Vec<&str>> {
    let (_, section) = deny.split_once("\n[licenses]\n")?;
    let (_, list) = section.split_once("\nallow = [")?;
    let (list, _) = list.split_once(']')?;
    Some(list.split('"').skip(1).step_by(2).collect())
}

/// Whether one may choose among these licences such that all that apply are allowed.
fn permits(expression: &str, allowed: &[&str]) -> bool {
    // Crates from before SPDX write "MIT/Apache-2.0" and mean a choice.
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    any_of(&mut words, allowed) == Some(true) && words.is_empty()
}

/// `all { "OR" all }`; the next word is the last of `words`. `None` where the grammar is broken.
fn any_of(words: &mut Vec<&str>, allowed: &[&str]) -> Option<bool> {
    let mut result = all_of(words, allowed)?;
    while words.pop_if(|word| *word == "OR").is_some() {
        result |= all_of(words, allowed)?;
    }
    Some(result)
}

/// `one { "AND" one }`
fn all_of(words: &mut Vec<&str>, allowed: &[&str]) -> Option<bool> {
    let mut result = one_of(words, allowed)?;
    while words.pop_if(|word| *word == "AND").is_some() {
        result &= one_of(words, allowed)?;
    }
    Some(result)
}

/// `"(" any ")" | licence [ "WITH" exception ]`
fn one_of(words: &mut Vec<&str>, allowed: &[&str]) -> Option<bool> {
    let licence = words.pop()?;
    if licence == "(" {
        let result = any_of(words, allowed);
        return result.filter(|_| words.pop() == Some(")"));
    }
    if words.pop_if(|word| *word == "WITH").is_some() {
        // An exception only gives more rights.
        words.pop()?;
    }
    Some(allowed.contains(&licence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_weighed() {
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT OR GPL-3.0", true),
            ("GPL-3.0 OR MIT", true),
            ("MIT/Apache-2.0", true),
            ("MIT AND GPL-3.0", false),
            ("(MIT OR GPL-3.0) AND ISC", true),
            ("MIT OR GPL-3.0 AND GPL-2.0", true),
            ("(MIT OR GPL-3.0) AND GPL-2.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("", false),
            ("MIT OR", false),
            ("(MIT", false),
            ("MIT ISC", false),
        ] {
            let allowed = ["MIT", "Apache-2.0", "ISC"];
            assert_eq!(permits(expression, &allowed), expected, "{expression}");
        }
    }

    #[test]
    fn the_list_is_read() {
        let deny =
            "[graph]\n\n[licenses]\n# why\nallow = [\n  \"MIT\", # x\n  \"ISC\",\n]\n[bans]\n";
        assert_eq!(allowed_licences(deny).unwrap(), ["MIT", "ISC"]);
        assert_eq!(allowed_licences("[licenses]"), None);
    }
}
