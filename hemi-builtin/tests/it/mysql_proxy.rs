//! The dealet `mysqlProxy` between the client of MariaDB and MariaDB.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hemi_test::tls::{Authority, KeyKind};
use hemi_test::{eventually, peer};

use crate::databases::{Database, answer_to, in_front_of, router, said};
use crate::server::Running;

/// What the client says to these statements, and whether that is good.
fn mariadb(router: &Running, options: &[&str], statements: &str) -> (bool, String) {
    let mut client = Command::new(peer("mariadb").expect("was asked for"));
    client.args(["--no-defaults", "-h", "127.0.0.1", "--connect-timeout=30", "-P"]);
    client.arg(router.addr().port().to_string()).args(options).args(["-N", "-e", statements]);
    said(client)
}

#[test]
fn users_and_databases_are_told_apart_and_prove_who_they_are_to_nodes() {
    let (Some(database), Some(_)) = (Database::mariadb(), peer("mariadb")) else { return };
    let ca = Authority::new("ca");
    let identity = ca.server(&["db.test", "127.0.0.1"], KeyKind::Ecdsa);
    let cases = r#"
        case $database == "gone" { mysqlProxy { .toBackend = "gone"  .serverVersion = "5.5.5-10.11.6-MariaDB" } }
        case $user == ("root", "mia") && $protocol == "mysql" { mysqlProxy { .toBackend = "b" } }"#;
    let plain = router(database.socket(), "", cases);
    let root = ["-u", "root"];
    let make = "create database shop; create user mia@localhost identified by 'secret';
        grant all on shop.* to mia@localhost; select 6 * 7; select repeat('x', 300000)";
    let (done, said) = mariadb(&plain, &root, make);
    let lines: Vec<&str> = said.lines().collect();
    assert!(done && lines[0] == "42" && lines[1].len() == 300_000, "{said:.500}{}", database.log());
    let mia = |password| ["-u", "mia", password, "shop"];
    let ask = "select database(); select user()";
    let (done, said) = mariadb(&plain, &mia("-psecret"), ask);
    assert!(done && said == "shop\nmia@localhost\n", "{said}");
    let (done, said) = mariadb(&plain, &mia("-pwrong"), ask);
    assert!(!done && said.contains("Access denied for user 'mia'"), "{said}");
    let (done, said) = mariadb(&plain, &["-u", "root", "gone"], ask);
    assert!(!done && said.contains("no server takes the connection now"), "{said}");
    assert!(!mariadb(&plain, &["-u", "tom"], ask).0);

    let properties = format!(".tlsMode = true  {}", identity.properties());
    let tls = router(database.socket(), &properties, cases);
    let authority = format!("--ssl-ca={}", ca.certificate().display());
    let secret = [&mia("-psecret")[..], &[&authority, "--ssl-verify-server-cert"]].concat();
    let (done, said) = mariadb(&tls, &secret, "show status like 'x'; select user()");
    assert!(done && said == "mia@localhost\n", "{said}");
    let (done, said) = mariadb(&tls, &[&mia("-psecret")[..], &["--skip-ssl"]].concat(), ask);
    assert!(!done && said.contains("over TLS only"), "{said}");

    let front = in_front_of(&tls, &ca, "mysqlProxy");
    let (done, said) = mariadb(&front, &mia("-psecret"), ask);
    assert!(done && said == "shop\nmia@localhost\n", "{said}");
}

#[test]
fn who_does_not_speak_the_protocol_is_closed() {
    let cases = "case { mysqlProxy { .toBackend = \"gone\" } }";
    let router = router(Path::new("/nonexistent"), ".peekTimeout = 5s", cases);
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x01\0\0\x01\x01", b"\x20\0\0\x01", b""] {
        let got = answer_to(&router, bytes);
        // It was greeted, and no more.
        assert_eq!(got.get(4), Some(&10), "{bytes:?}");
        assert_eq!(got.len(), 4 + usize::from(got[0]), "{bytes:?}");
    }
    assert!(eventually(Duration::from_secs(30), || router.server().active() == 0));
}
