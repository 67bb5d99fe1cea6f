//! The dealet `redisProxy` between redis-cli, redis-benchmark and Redis.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hemi_test::tls::{Authority, KeyKind};
use hemi_test::{eventually, peer};

use crate::databases::{answer_to, in_front_of, router, said, succeed};
use crate::redis::RedisServer;
use crate::server::{Running, load};

/// Cases that have users and databases go to different servers.
fn two_servers(one: &Path, other: &Path, properties: &str) -> Running {
    let text = format!(
        r#"stage {{
            tcpxBackend "one" {{ node {{ .address = "{}" }} }}
            tcpxBackend "other" {{ node {{ .address = "{}" }} }}
            tcpxBackend "gone" {{ node {{ .address = "/nonexistent/socket" }} }}
            tcpxRouter "main" {{ .address = "127.0.0.1:0"  {properties}
                case $user == "tom" {{ redisProxy {{ .toBackend = "gone" }} }}
                case $user == "mia" || $database == "3" {{ redisProxy {{ .toBackend = "other" }} }}
                case $user == "default" && $protocol == "redis" {{ redisProxy {{ .toBackend = "one" }} }}
            }}
        }}"#,
        one.display(),
        other.display()
    );
    load(2, &text).unwrap_or_else(|e| panic!("{e}"))
}

/// What redis-cli says to a command, by way of a router.
fn cli(router: &Running, options: &[&str], command: &str) -> String {
    let mut cli = Command::new(peer("redis-cli").expect("was asked for"));
    cli.args(["-h", "127.0.0.1", "-p", &router.addr().port().to_string(), "--no-auth-warning"]);
    said({
        cli.args(options).args(command.split(' '));
        cli
    })
    .1
}

#[test]
fn users_and_databases_are_told_apart_in_the_clear_and_over_tls() {
    let (Some(one), Some(other)) = (RedisServer::start(), RedisServer::start()) else { return };
    let (Some(program), Some(benchmark)) = (peer("redis-cli"), peer("redis-benchmark")) else {
        return;
    };
    let (first, second) = (one.socket(), other.socket());
    for (socket, command) in [
        (&first, "-n 0 set who one"),
        (&second, "-n 0 set who other"),
        (&second, "-n 3 set who third"),
        (&second, "acl setuser mia on >secret ~* +@all"),
    ] {
        let mut cli = Command::new(&program);
        cli.arg("-s").arg(socket).args(command.split(' '));
        assert_eq!(succeed(cli), "OK\n");
    }
    let mia = ["--user", "mia", "--pass", "secret"];
    let plain = two_servers(&first, &second, "");
    assert_eq!(cli(&plain, &[], "get who"), "one\n");
    assert_eq!(cli(&plain, &mia, "get who"), "other\n");
    assert_eq!(cli(&plain, &[&mia[..], &["-3", "-n", "3"]].concat(), "get who"), "third\n");
    assert_eq!(cli(&plain, &["-n", "3"], "get who"), "third\n");
    let wrong = cli(&plain, &["--user", "mia", "--pass", "guess"], "get who");
    assert!(wrong.contains("WRONGPASS"), "{wrong}");
    let gone = cli(&plain, &["--user", "tom", "--pass", "secret"], "get who");
    assert!(gone.contains("no server takes the connection now"), "{gone}");
    // Whom no case takes.
    assert_eq!(answer_to(&plain, b"*3\r\n$4\r\nAUTH\r\n$3\r\ntim\r\n$1\r\nx\r\n"), b"");
    let mut run = Command::new(benchmark);
    run.args(["-h", "127.0.0.1", "-p", &plain.addr().port().to_string(), "--user", "mia", "-a"]);
    run.args(["secret", "-n", "1000", "-c", "10", "-P", "4", "-d", "3000", "-q", "-t", "set,get"]);
    let done = succeed(run).replace('\r', "\n");
    assert!(done.contains("SET:") && done.contains("GET:"), "{done}");

    let ca = Authority::new("ca");
    let identity = ca.server(&["db.test", "127.0.0.1"], KeyKind::Ecdsa);
    let properties = format!(".tlsMode = true  {}", identity.properties());
    let tls = two_servers(&first, &second, &properties);
    let authority = ca.certificate().display().to_string();
    let secret = [&mia[..], &["--tls", "--cacert", &authority]].concat();
    assert_eq!(cli(&tls, &secret, "get who"), "other\n");
    let refused = answer_to(&tls, b"*1\r\n$4\r\nPING\r\n");
    assert_eq!(refused, b"-ERR connections are taken over TLS only\r\n");

    // From one router to the other over TLS.
    let front = in_front_of(&tls, &ca, "redisProxy");
    assert_eq!(cli(&front, &mia, "get who"), "other\n");
    assert_eq!(cli(&front, &[], "get who"), "one\n");
}

#[test]
fn who_says_nothing_is_nobody_in_particular() {
    let node = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = format!(
        r#"stage {{
            tcpxBackend "b" {{ node {{ .address = "{}" }} }}
            tcpxRouter "main" {{ .address = "127.0.0.1:0"  .peekTimeout = 50ms
                case $user == "default" {{ redisProxy {{ .toBackend = "b" }} }} }}
        }}"#,
        node.local_addr().unwrap()
    );
    let router = load(1, &text).unwrap();
    let mut client = TcpStream::connect(router.addr()).unwrap();
    let (mut here, _) = node.accept().unwrap();
    client.write_all(b"PING\r\n").unwrap();
    let mut got = [0; 6];
    here.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"PING\r\n");
}

#[test]
fn who_does_not_speak_the_protocol_is_closed() {
    let cases = "case { redisProxy { .toBackend = \"gone\" } }";
    let router = router(Path::new("/nonexistent"), ".peekTimeout = 5s", cases);
    // The last is half of a command, and then nothing.
    for bytes in [&b"\x16\x03\x01\x02\0"[..], b"*1\r\n*1\r\n", b"*2\r\n$4\r\nAUTH\r\n$5\r\nse"] {
        assert_eq!(answer_to(&router, bytes), b"", "{bytes:?}");
    }
    assert_eq!(answer_to(&router, b"PING\r\n"), b"-ERR no server takes the connection now\r\n");
    assert!(eventually(Duration::from_secs(30), || router.server().active() == 0));
}
