//! Configs that can't be served, at the start and in the place of another.

use std::process::Command;

use hemi_core::config::Source;
use hemi_core::{Engine, Registry};
use hemi_test::TempDir;

use crate::gorox::BINARY;

#[test]
fn a_config_that_can_not_be_served_ends_the_program_with_its_reason() {
    let dir = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let server = |address: &str| {
        format!(
            "stage {{ webapp \"w\" {{ .hostnames = (\"*\") rule {{ .returnCode = 200 }} }}
             httpxServer \"s\" {{ .address = \"{address}\" .webapps = (\"w\") }} }}"
        )
    };
    #[rustfmt::skip]
    let rows = [
        ("stage {".to_owned(), "test.conf:1:"),
        (server(&taken.to_string()), "in use"),
        (server("/no/such/directory/socket"), "cannot listen on /no/such/directory/socket"),
        (server("192.0.2.1:80"), "cannot listen on 192.0.2.1:80"),
        (
            "stage { echoServer \"a\" { .address = \"127.0.0.1:0\" }
             echoServer \"b\" { .address = \"127.0.0.1:0\" } }"
                .to_owned(),
            "two servers of the stage listen on 127.0.0.1:0",
        ),
    ];
    for (config, why) in rows {
        let file = dir.write("test.conf", &config).unwrap();
        let output = Command::new(BINARY).arg("serve").arg("--config").arg(file).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(why), "{why}: {stderr}");
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
