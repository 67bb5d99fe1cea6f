//! Checks that speak what nodes speak.

use std::fmt::Display;
use std::process::Command;
use std::time::Duration;

use hemi_core::backend::Health::{self, Down, Up};
use hemi_net::TcpxBackendKind;
use hemi_test::tls::{Authority, KeyKind};
use hemi_test::{TempDir, eventually, peer};

use super::{Database, succeed};
use crate::redis::RedisServer;
use crate::server::{Running, load};

const LONG: Duration = Duration::from_secs(60);

/// How the nodes of the backend `b` are.
fn health(router: &Running) -> Vec<Health> {
    let endpoints = router.find::<TcpxBackendKind>("b").nodes().endpoints();
    endpoints.iter().map(|endpoint| endpoint.health()).collect()
}

#[test]
fn checks_know_what_speaks_and_what_does_not() {
    let databases = (Database::postgres(), Database::mariadb(), RedisServer::start());
    let (Some(postgres), Some(mariadb), Some(redis)) = databases else { return };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let finds = |check: &str, expected: [Health; 4]| {
        let node = |address: &dyn Display| format!("node {{ .address = \"{address}\" }}");
        let text = format!(
            r#"stage {{
                tcpxBackend "b" {{
                    {} {} {} {}
                    {check} {{ .interval = 100ms  .timeout = 15s  .fall = 1 }}
                }}
                tcpxRouter "main" {{ .address = "127.0.0.1:0"  case {{ tcpxProxy {{ .toBackend = "b" }} }} }}
            }}"#,
            node(&postgres.socket().display()),
            node(&mariadb.socket().display()),
            node(&redis.socket().display()),
            node(&silent.local_addr().unwrap()),
        );
        let router = load(1, &text).unwrap();
        let found = || health(&router);
        assert!(eventually(LONG, || found() == expected), "{:?}", found());
        router
    };
    // The server knows a user who comes and goes as he should, and counts who does not: the one that waited for its start.
    let ask = |statement: &str| {
        let mut client = Command::new(peer("mariadb").expect("is installed with the server"));
        client.args(["--no-defaults", "-u", "root", "-N", "-e", statement, "-S"]);
        client.arg(mariadb.socket());
        succeed(client)
    };
    let aborted = || {
        ask(
            "select variable_value from information_schema.global_status where variable_name = 'aborted_connects'",
        )
    };
    ask("create user gorox@localhost");
    assert!(eventually(LONG, || aborted() == "1\n"), "{}", aborted());
    let checked = finds("mysqlCheck", [Down, Up, Down, Down]);
    assert_eq!(aborted(), "1\n");
    drop(checked);
    // One that it does not know it sends away, and takes others still.
    ask("drop user gorox@localhost");
    let checked = finds("mysqlCheck", [Down, Up, Down, Down]);
    assert!(eventually(LONG, || aborted() != "1\n"));
    drop(checked);
    finds("pgsqlCheck", [Up, Down, Down, Down]);
    finds("redisCheck", [Down, Down, Up, Down]);
}

#[test]
fn checks_speak_tls_where_nodes_do() {
    let (Some(mariadb), Some(redis)) = (Database::mariadb(), RedisServer::start()) else { return };
    let (dir, ca) = (TempDir::new().unwrap(), Authority::new("ca"));
    let identity = ca.server(&["db.test"], KeyKind::Ecdsa);
    for (protocol, socket) in [("mysql", mariadb.socket()), ("redis", &redis.socket())] {
        let at = dir.path().join(protocol);
        let checked = load(
            1,
            &format!(
                r#"stage {{
                    tcpxBackend "b" {{ .tlsMode = true  .tlsTrustedCa = "{}"  .tlsPeerName = "db.test"
                        node {{ .address = "{}" }}
                        {protocol}Check {{ .interval = 100ms  .fall = 1  .rise = 1 }} }}
                    tcpxRouter "main" {{ .address = "127.0.0.1:0"
                        case {{ {protocol}Proxy {{ .toBackend = "b" }} }} }}
                }}"#,
                ca.certificate().display(),
                at.display()
            ),
        )
        .unwrap_or_else(|e| panic!("{e}"));
        assert!(eventually(LONG, || health(&checked) == [Down]));
        // A router gives it TLS.
        let text = format!(
            r#"stage {{
                tcpxBackend "b" {{ node {{ .address = "{}" }} }}
                tcpxRouter "main" {{ .address = "{}"  .tlsMode = true  {}
                    case {{ {protocol}Proxy {{ .toBackend = "b" }} }} }}
            }}"#,
            socket.display(),
            at.display(),
            identity.properties()
        );
        let _node = load(1, &text).unwrap_or_else(|e| panic!("{e}"));
        assert!(eventually(LONG, || health(&checked) == [Up]), "{protocol}");
    }
}
