//! The dealet `pgsqlProxy` between psql and PostgreSQL, and checks that speak what nodes speak.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hemi_test::tls::{Authority, KeyKind};
use hemi_test::{eventually, peer};

use crate::databases::{Database, answer_to, in_front_of, router, said};
use crate::server::Running;

/// What psql says to this, in the database `name`, and whether that is good.
fn psql(router: &Running, name: &str, options: &str) -> (bool, String) {
    let mut psql = Command::new(peer("psql").expect("was asked for"));
    let connect = format!("host=127.0.0.1 port={} dbname={name} {options}", router.addr().port());
    psql.args(["-X", "-At", "-c", "select current_database(), 6 * 7", &connect]);
    psql.env("PGCONNECT_TIMEOUT", "30").env("PGPASSFILE", "/nonexistent/passwords");
    said(psql)
}

#[test]
fn users_and_databases_are_told_apart_in_the_clear_and_over_tls() {
    let (Some(postgres), Some(_)) = (Database::postgres(), peer("psql")) else { return };
    let ca = Authority::new("ca");
    let identity = ca.server(&["db.test", "127.0.0.1"], KeyKind::Ecdsa);
    let cases = r#"case $database == "template1" { pgsqlProxy { .toBackend = "gone" } }
        case $user == "mia" && $protocol == "pgsql" { pgsqlProxy { .toBackend = "b" } }"#;
    let plain = router(postgres.socket(), "", cases);
    // It asks for TLS first, and then goes on without.
    let good = (true, "postgres|42\n".to_owned());
    assert_eq!(psql(&plain, "postgres", "user=mia sslmode=prefer"), good, "{}", postgres.log());
    assert_eq!(psql(&plain, "postgres", "user=mia sslmode=disable"), good);
    let (done, said) = psql(&plain, "template1", "user=mia");
    assert!(!done && said.contains("no server takes the connection now"), "{said}");
    assert!(!psql(&plain, "postgres", "user=tom").0);
    assert!(!psql(&plain, "postgres", "user=mia sslmode=require").0);

    let properties = format!(".tlsMode = true  {}", identity.properties());
    let tls = router(postgres.socket(), &properties, cases);
    let verify = format!("user=mia sslmode=verify-full sslrootcert={}", ca.certificate().display());
    assert_eq!(psql(&tls, "postgres", &verify), good);
    let (done, said) = psql(&tls, "postgres", "user=mia sslmode=disable");
    assert!(!done && said.contains("connections are taken over TLS only"), "{said}");

    let front = in_front_of(&tls, &ca, "pgsqlProxy");
    assert_eq!(psql(&front, "postgres", "user=mia"), good);
}

#[test]
fn what_somebody_puts_behind_a_request_for_tls_is_not_taken_for_said_in_secret() {
    let ca = Authority::new("ca");
    let identity = ca.server(&["db.test"], KeyKind::Ecdsa);
    let properties = format!(".tlsMode = true  .peekTimeout = 5s  {}", identity.properties());
    let cases = "case { pgsqlProxy { .toBackend = \"gone\" } }";
    let router = router(Path::new("/nonexistent"), &properties, cases);
    let request = b"\0\0\0\x08\x04\xd2\x16\x2f";
    for (bytes, answer) in [
        (&[&request[..], b"\0\0\0\x11\0\x03\0\0user\0mia\0\0"].concat()[..], &b""[..]),
        (b"GET / HTTP/1.1\r\n\r\n", b""),
        // Half of it, and then nothing.
        (&request[..5], b""),
        // What is to be cancelled comes in the clear, and goes to nobody here.
        (b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02", b"E"),
    ] {
        let got = answer_to(&router, bytes);
        assert_eq!(got.get(..1).unwrap_or_default(), answer, "{bytes:?}");
    }
    assert!(eventually(Duration::from_secs(30), || router.server().active() == 0));
}
