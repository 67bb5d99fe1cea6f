//! The direction of dependency between the crates of the workspace.

use serde_json::Value;

use crate::Result;
use crate::cargo::{cargo, host, stdout_of};

/// What a crate of ours may depend on.
enum May {
    /// These crates of ours, and no others.
    Use(&'static [&'static str]),
    /// Any crate of ours but the ones only tests need.
    UseAll,
}

/// Per crate; `examples/*` and the binaries are leaves. A crate that isn't here is a finding.
const RULES: &[(&str, May)] = &[
    ("hemi-proto", May::Use(&[])),
    ("hemi-derive", May::Use(&[])),
    ("hemi-core", May::Use(&["hemi-proto", "hemi-derive"])),
    ("hemi-web", May::Use(&["hemi-core", "hemi-proto"])),
    ("hemi-net", May::Use(&["hemi-core", "hemi-proto"])),
    ("hemi-rpc", May::Use(&["hemi-core", "hemi-derive", "hemi-proto", "hemi-web"])),
    ("hemi-builtin", May::Use(KINDS)),
    ("hemi-contrib", May::Use(KINDS)),
    ("hemi-procmgr", May::Use(&["hemi-core", "hemi-proto", "hemi-web"])),
    ("hemi-test", May::Use(&[])),
    ("xtask", May::Use(&["hemi-test"])),
    ("gorox", May::UseAll),
    ("mulecar", May::UseAll),
    ("myrox", May::UseAll),
    ("bench-app", May::UseAll),
    ("bench-axum", May::Use(&[])),
    ("bench-h3load", May::Use(&[])),
    ("bench-relay", May::Use(&[])),
    ("bench-rpc", May::Use(&["hemi-core", "hemi-rpc"])),
    ("bench-tonic", May::Use(&["bench-rpc"])),
    ("bench-tungstenite", May::Use(&[])),
    ("bench-websocket", May::Use(&["hemi-proto"])),
    ("rpc-conformance", May::Use(&["hemi-core", "hemi-proto", "hemi-rpc"])),
    ("rpc-interop", May::Use(&["hemi-rpc"])),
];

/// The crates that define kinds of components, and what those stand on.
const KINDS: &[&str] = &["hemi-core", "hemi-proto", "hemi-web", "hemi-rpc", "hemi-net"];

/// Crates that only tests, the bench and the like may use.
const TEST_ONLY: &[&str] = &["hemi-test", "xtask"];

/// What `cargo metadata` says about the workspace and all it depends on, on this platform.
pub(super) fn metadata() -> Result<Value> {
    let mut metadata = cargo();
    metadata.args(["metadata", "--format-version=1", "--locked", "--filter-platform"]);
    Ok(serde_json::from_str(&stdout_of(metadata.arg(host()?))?)?)
}

pub(super) fn check(metadata: &Value) -> Result<Vec<String>> {
    let packages = metadata.get("packages").and_then(Value::as_array).ok_or("no packages")?;
    let ours: Vec<Package<'_>> = packages.iter().filter_map(Package::of_ours).collect();
    Ok(breaches(&ours))
}

/// A crate of the workspace.
struct Package<'a> {
    name: &'a str,
    is_example: bool,
    /// Names of what it depends on, of ours and others'; those of tests aside.
    dependencies: Vec<&'a str>,
}

impl<'a> Package<'a> {
    /// `None` for a crate from elsewhere.
    fn of_ours(package: &'a Value) -> Option<Self> {
        if !package.get("source")?.is_null() {
            return None;
        }
        let dependencies = package.get("dependencies")?.as_array()?;
        Some(Self {
            name: package.get("name")?.as_str()?,
            is_example: package.get("manifest_path")?.as_str()?.contains("/examples/"),
            dependencies: dependencies
                .iter()
                .filter(|dependency| dependency.get("kind").is_some_and(|kind| kind != "dev"))
                .filter_map(|dependency| dependency.get("name")?.as_str())
                .collect(),
        })
    }
}

fn breaches(ours: &[Package<'_>]) -> Vec<String> {
    let mut findings = Vec::new();
    for Package { name, is_example, dependencies } in ours {
        let rule = RULES.iter().find(|(known, _)| known == name).map(|(_, may)| may);
        let Some(rule) = rule.or(is_example.then_some(&May::UseAll)) else {
            findings.push(format!("{name}: say in xtask's tidy what this crate may depend on"));
            continue;
        };
        for dependency in dependencies {
            let allowed = match rule {
                May::Use(allowed) => allowed.contains(dependency),
                May::UseAll => !TEST_ONLY.contains(dependency),
            };
            if !allowed && ours.iter().any(|package| package.name == *dependency) {
                findings.push(format!("{name}: must not depend on {dependency}"));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_point_one_way() {
        let package = |name, is_example, dependencies: &[&'static str]| Package {
            name,
            is_example,
            dependencies: dependencies.to_vec(),
        };
        let good = [
            package("hemi-proto", false, &["bytes"]),
            package("hemi-core", false, &["hemi-proto", "tokio"]),
            package("hemi-test", false, &[]),
            package("gorox", false, &["hemi-core"]),
            package("hello", true, &["hemi-core"]),
        ];
        assert_eq!(breaches(&good), Vec::<String>::new());
        let bad = [
            package("hemi-proto", false, &["hemi-core"]),
            package("hemi-core", false, &["hemi-test"]),
            package("hemi-test", false, &[]),
            package("gorox", false, &["hemi-test"]),
            package("hemi-new", false, &[]),
        ];
        assert_eq!(
            breaches(&bad),
            [
                "hemi-proto: must not depend on hemi-core",
                "hemi-core: must not depend on hemi-test",
                "gorox: must not depend on hemi-test",
                "hemi-new: say in xtask's tidy what this crate may depend on",
            ]
        );
    }

    #[test]
    fn tests_may_use_what_they_like() {
        let package = serde_json::json!({
            "name": "hemi-proto", "source": null, "manifest_path": "/x/hemi-proto/Cargo.toml",
            "dependencies": [
                { "name": "hemi-test", "kind": "dev" },
                { "name": "bytes", "kind": null },
                { "name": "cc", "kind": "build" },
            ],
        });
        assert_eq!(Package::of_ours(&package).unwrap().dependencies, ["bytes", "cc"]);
        let other = serde_json::json!({ "name": "bytes", "source": "registry" });
        assert!(Package::of_ours(&other).is_none());
    }
}
