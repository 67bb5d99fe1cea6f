//! The dealet `pgsqlProxy` between psql and PostgreSQL, and checks that speak what nodes speak.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use hemi_core::backend::Health;
use hemi_net::TcpxBackendKind;
use hemi_test::tls::{Authority, KeyKind};
use hemi_test::{eventually, peer};

use crate::databases::Database;
use crate::redis::RedisServer;
use crate::server::{Running, load};

/// What psql says to this, in the database `name`, and whether that is good.
fn psql(router: &Running, name: &str, options: &str) -> (bool, String) {
    let mut psql = Command::new(peer("psql").expect("was asked for"));
    let connect = format!("host=127.0.0.1 port={} dbname={name} {options}", router.addr().port());
    psql.args(["-X", "-At", "-c", "select current_database(), 6 * 7", &connect]);
    psql.env("PGCONNECT_TIMEOUT", "30").env("PGPASSFILE", "/nonexistent/passwords");
    let done = psql.output().unwrap();
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    (done.status.success(), said)
}

#[test]
fn users_and_databases_are_told_apart_in_the_clear_and_over_tls() {
    let (Some(postgres), Some(_)) = (Database::postgres(), peer("psql")) else { return };
    let ca = Authority::new("ca");
    let identity = ca.server(&["db.test", "127.0.0.1"], KeyKind::Ecdsa);
    let text = |tls: &str| {
        format!(
            r#"stage {{
                tcpxBackend "b" {{ node {{ .address = "{}" }} }}
                tcpxBackend "gone" {{ node {{ .address = "/nonexistent/socket" }} }}
                tcpxRouter "main" {{ .address = "127.0.0.1:0"  {tls}
                    case $database == "template1" {{ pgsqlProxy {{ .toBackend = "gone" }} }}
                    case $user == "mia" && $protocol == "pgsql" {{ pgsqlProxy {{ .toBackend = "b" }} }}
                }}
            }}"#,
            postgres.socket().display()
        )
    };
    let plain = load(2, &text("")).unwrap_or_else(|e| panic!("{e}"));
    // It asks for TLS first, and then goes on without.
    let good = (true, "postgres|42\n".to_owned());
    assert_eq!(psql(&plain, "postgres", "user=mia sslmode=prefer"), good, "{}", postgres.log());
    assert_eq!(psql(&plain, "postgres", "user=mia sslmode=disable"), good);
    let (done, said) = psql(&plain, "template1", "user=mia");
    assert!(!done && said.contains("no server takes the connection now"), "{said}");
    assert!(!psql(&plain, "postgres", "user=tom").0);
    assert!(!psql(&plain, "postgres", "user=mia sslmode=require").0);

    let tls = load(2, &text(&format!(".tlsMode = true  {}", identity.properties()))).unwrap();
    let verify = format!("user=mia sslmode=verify-full sslrootcert={}", ca.certificate().display());
    assert_eq!(psql(&tls, "postgres", &verify), good);
    let (done, said) = psql(&tls, "postgres", "user=mia sslmode=disable");
    assert!(!done && said.contains("connections are taken over TLS only"), "{said}");

    // From one router to the other over TLS.
    let begins = format!(
        r#"stage {{
            tcpxBackend "b" {{ .tlsMode = true  .tlsTrustedCa = "{}"  .tlsPeerName = "db.test"
                node {{ .address = "{}" }} }}
            tcpxRouter "main" {{ .address = "127.0.0.1:0"  case {{ pgsqlProxy {{ .toBackend = "b" }} }} }}
        }}"#,
        ca.certificate().display(),
        tls.addr()
    );
    let front = load(1, &begins).unwrap();
    assert_eq!(psql(&front, "postgres", "user=mia"), good);
}

#[test]
fn what_somebody_puts_behind_a_request_for_tls_is_not_taken_for_said_in_secret() {
    let ca = Authority::new("ca");
    let identity = ca.server(&["db.test"], KeyKind::Ecdsa);
    let text = format!(
        r#"stage {{
            tcpxBackend "b" {{ node {{ .address = "127.0.0.1:9" }} }}
            tcpxRouter "main" {{ .address = "127.0.0.1:0"  .tlsMode = true  {}  .peekTimeout = 1s
                case {{ pgsqlProxy {{ .toBackend = "b" }} }} }}
        }}"#,
        identity.properties()
    );
    let router = load(1, &text).unwrap();
    let request = b"\0\0\0\x08\x04\xd2\x16\x2f";
    for (bytes, answer) in [
        (&[&request[..], b"\0\0\0\x11\0\x03\0\0user\0mia\0\0"].concat()[..], &b""[..]),
        (b"GET / HTTP/1.1\r\n\r\n", b""),
        // Half of it, and then nothing.
        (&request[..5], b""),
        // What is to be cancelled comes in the clear, and goes to nobody here.
        (b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x02", b"E"),
    ] {
        let mut client = TcpStream::connect(router.addr()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        client.write_all(bytes).unwrap();
        let mut got = Vec::new();
        let _ = client.read_to_end(&mut got);
        assert_eq!(got.get(..1).unwrap_or_default(), answer, "{bytes:?}");
    }
    assert!(eventually(Duration::from_secs(30), || router.server().active() == 0));
}

#[test]
fn checks_know_what_speaks_and_what_does_not() {
    let (Some(postgres), Some(redis)) = (Database::postgres(), RedisServer::start()) else {
        return;
    };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let finds = |check: &str, expected: [Health; 3]| {
        let text = format!(
            r#"stage {{
                tcpxBackend "b" {{
                    node {{ .address = "{}" }} node {{ .address = "{}" }} node {{ .address = "{}" }}
                    {check} {{ .interval = 100ms  .timeout = 2s  .fall = 1 }}
                }}
                tcpxRouter "main" {{ .address = "127.0.0.1:0"  case {{ tcpxProxy {{ .toBackend = "b" }} }} }}
            }}"#,
            postgres.socket().display(),
            redis.socket().display(),
            silent.local_addr().unwrap()
        );
        let router = load(1, &text).unwrap();
        let health = || {
            let endpoints = router.find::<TcpxBackendKind>("b").nodes().endpoints();
            endpoints.iter().map(|endpoint| endpoint.health()).collect::<Vec<_>>()
        };
        assert!(eventually(Duration::from_secs(60), || health() == expected), "{:?}", health());
    };
    use Health::{Down, Up};
    finds("pgsqlCheck", [Up, Down, Down]);
    finds("redisCheck", [Down, Up, Down]);
}
