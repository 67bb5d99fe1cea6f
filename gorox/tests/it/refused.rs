//! Configs that can't be served, at the start and in the place of another.

use hemi_core::config::Source;
use hemi_core::{Engine, Registry};
use hemi_test::TempDir;

use crate::cli::gorox;

#[test]
fn an_address_that_can_not_be_had_ends_the_program_with_its_reason() {
    let dir = TempDir::new().unwrap();
    // A directory that is not there, and an address of no machine (RFC 5737).
    for address in ["/no/such/directory/socket", "192.0.2.1:80"] {
        let config = format!(
            "stage {{ webapp \"w\" {{ .hostnames = (\"*\") rule {{ .returnCode = 200 }} }}
             httpxServer \"s\" {{ .address = \"{address}\" .webapps = (\"w\") }} }}"
        );
        let file = dir.write("test.conf", &config).unwrap();
        let ended = gorox(&["serve", "--single", "--config", &file.display().to_string()]);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let why = format!("cannot listen on {address}");
        assert!(ended.stderr.contains(&why), "{}", ended.stderr);
    }
}

#[test]
fn a_log_that_can_not_be_opened_refuses_the_stage() {
    let dir = TempDir::new().unwrap();
    let file = dir.write("file", "").unwrap();
    let config = |target: &str| {
        format!(
            "stage {{ simpleLogger \"l\" {{ .target = \"{target}\" }}
             webapp \"w\" {{ .hostnames = (\"*\") .useLogger = \"l\" rule {{ .returnCode = 200 }} }}
             httpxServer \"s\" {{ .address = \"127.0.0.1:0\" .webapps = (\"w\") }} }}"
        )
    };
    let mut registry = Registry::new();
    hemi_web::register(&mut registry);
    hemi_builtin::register(&mut registry);
    let mut engine = Engine::start(registry).unwrap();
    let good = config(&dir.path().join("logs/access.log").display().to_string());
    let first = engine.load(&Source::text("good", good)).unwrap().id();
    let bad = config(&format!("{}/access.log", file.display()));
    let error = engine.load(&Source::text("bad", bad)).unwrap_err().to_string();
    assert!(error.contains("access.log"), "{error}");
    assert_eq!(engine.stage().unwrap().id(), first);
}
