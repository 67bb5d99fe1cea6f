//! `gorox explain`.

use crate::cli::gorox;

/// All signs that `explain` lists.
fn signs() -> Vec<String> {
    let list = gorox(&["explain"]);
    assert_eq!(list.code, Some(0));
    let components = list.stdout.lines().filter_map(|line| line.strip_prefix("  "));
    components
        .map(|line| {
            let (sign, about) = line.split_once(' ').unwrap();
            assert!(about.ends_with('.'), "`{sign}` is told by half a sentence: {about}");
            sign.to_owned()
        })
        .collect()
}

#[test]
fn the_list_has_the_components_of_every_crate() {
    let signs = signs();
    for sign in ["fcache", "resolv", "webapp", "rule", "httpxServer", "static", "welcome"] {
        assert!(signs.iter().any(|known| known == sign), "{sign} is not in {signs:?}");
    }
}

#[test]
fn every_line_of_the_list_is_about_that_component_alone() {
    let list = gorox(&["explain"]).stdout;
    let mut told = Vec::new();
    for line in list.lines() {
        match line.strip_prefix("  ").and_then(|line| line.split_once(' ')) {
            Some((sign, about)) => {
                let about = about.trim();
                let own = !about.starts_with("Properties of every") && !told.contains(&about);
                assert!(own, "{sign} is told as another is: {about}");
                told.push(about);
            }
            None => told.clear(),
        }
    }
}

#[test]
fn every_component_and_property_is_documented() {
    for sign in signs() {
        let text = gorox(&["explain", &sign]).stdout;
        let mut parts = text.split("\n\n");
        let head = parts.next().unwrap();
        assert!(head.starts_with(&format!("{sign} (")) && head.lines().count() > 1, "{head}");
        for property in parts {
            let (line, doc) = property.split_once('\n').unwrap_or((property, ""));
            let (name, rest) = line.split_once(" = ").unwrap_or(("", ""));
            let (kind, default) = rest.split_once("  (").unwrap_or(("", ""));
            let named = name.strip_prefix('.').is_some_and(|name| !name.is_empty());
            assert!(named && !kind.is_empty(), "{sign}: {line}");
            let default = default.strip_suffix(')').unwrap_or_default();
            let known = matches!(default, "required" | "not set");
            assert!(known || default.len() > "default ".len(), "{sign}: {line}");
            assert!(doc.starts_with("    ") && !doc.trim().is_empty(), "{sign}{name} has no docs");
        }
    }
}

#[test]
fn a_component_is_described() {
    let text = gorox(&["explain", "static"]).stdout;
    for part in [
        "static (handlet; stands inside another component)\n",
        "\n.webRoot = path  (required)\n",
        "\n.indexFile = string  (default \"index.html\")\n",
    ] {
        assert!(text.contains(part), "{part:?} not in\n{text}");
    }
}

#[test]
fn programs_get_the_same_as_json() {
    let all: serde_json::Value =
        serde_json::from_str(&gorox(&["explain", "--json"]).stdout).unwrap();
    let known: Vec<_> =
        all.as_array().unwrap().iter().map(|c| c["sign"].as_str().unwrap()).collect();
    let mut listed = signs();
    listed.sort_unstable();
    assert_eq!(known, listed);
    let one: serde_json::Value =
        serde_json::from_str(&gorox(&["explain", "static", "--json"]).stdout).unwrap();
    let index = one["properties"].as_array().unwrap().iter().find(|p| p["name"] == "indexFile");
    let index = index.unwrap();
    assert_eq!((&index["type"], &index["default"]), (&"string".into(), &"\"index.html\"".into()));
    assert_eq!((&index["required"], &one["kind"]), (&false.into(), &"handlet".into()));
}

#[test]
fn an_unknown_sign_is_refused() {
    let ended = gorox(&["explain", "statik"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert_eq!(ended.stderr, "there is no component `statik`; did you mean `static`?\n");
}
