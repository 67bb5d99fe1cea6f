//! TLS through a router: passed on as it is by the name asked for, terminated, and begun.

use std::process::Command;
use std::sync::Arc;

use hemi_test::peer;
use hemi_test::raw::Client;
use hemi_test::tls::{Authority, KeyKind};

use super::{backend, config, echo, start, talk};
use crate::server::Running;

/// A server over TLS for this host, which tells who it is.
fn https(ca: &Authority, host: &str) -> Running {
    let identity = ca.server(&[host], KeyKind::Ecdsa);
    start(&format!(
        r#"webapp "w" {{
            .hostnames = ("*")  {}
            rule {{ .returnCode = 200  .returnText = "{host} " + $tlsAlpn }}
        }}
        httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("w")  .tlsMode = true }}"#,
        identity.properties()
    ))
}

#[test]
fn two_sites_on_one_port_without_their_keys() {
    let Some(curl) = peer("curl") else { return };
    let ca = Authority::new("ca");
    let (one, two) = (https(&ca, "one.test"), https(&ca, "two.test"));
    let backends = [backend("one", one.addr()), backend("two", two.addr())].concat();
    let cases = r#"
        case $serverName == "one.test" { tcpxProxy { .toBackend = "one" } }
        case $serverName $= ".test" && $nextProto ^= "h2," { tcpxProxy { .toBackend = "two" } }"#;
    let router = start(&config(&backends, cases));
    let fetch = |host: &str, options: &[&str]| {
        let mut curl = Command::new(&curl);
        curl.args(["-sS", "--max-time", "20", "--cacert"]).arg(ca.certificate()).args(options);
        curl.arg("--resolve").arg(format!("{host}:{}:127.0.0.1", router.addr().port()));
        let done = curl.arg(format!("https://{host}:{}/", router.addr().port())).output().unwrap();
        String::from_utf8([done.stdout, done.stderr].concat()).unwrap()
    };
    assert_eq!(fetch("one.test", &["--http1.1"]), "one.test http/1.1");
    assert_eq!(fetch("one.test", &["--http2"]), "one.test h2");
    assert_eq!(fetch("two.test", &["--http2"]), "two.test h2");
    // What nobody takes is closed.
    assert!(fetch("two.test", &["--http1.1"]).contains("curl:"));
    assert!(fetch("other.example", &[]).contains("curl:"));
}

#[test]
fn tls_is_terminated_and_begun() {
    let (ca, echo) = (Authority::new("ca"), echo());
    let identity = ca.server(&["inner.test", "outer.test"], KeyKind::Ecdsa);
    let terminating = format!(
        r#".tlsMode = true  .tlsProtocols = ("x/2", "x/1")  {}
        case $serverName == "outer.test" && $nextProto == "x/1" {{ tcpxProxy {{ .toBackend = "b" }} }}
        case $protocol == "redis" {{ tcpxProxy {{ .toBackend = "b" }} }}"#,
        identity.properties()
    );
    let inner = start(&config(&backend("b", echo.addr()), &terminating));
    let begins = |name: &str| {
        let backend = format!(
            r#"tcpxBackend "b" {{
                .tlsMode = true  .tlsProtocols = ("x/1")  .tlsTrustedCa = "{}"  .tlsPeerName = "{name}"
                node {{ .address = "{}" }}
            }}"#,
            ca.certificate().display(),
            inner.addr()
        );
        start(&config(&backend, "case { tcpxProxy { .toBackend = \"b\" } }"))
    };
    // In the clear to the one, from there over TLS to the other, and from there in the clear.
    let outer = begins("outer.test");
    let mut client = outer.connect();
    talk(&mut client, &vec![b'x'; 2_000_000]);
    client.send("end").unwrap();
    client.finish().unwrap();
    assert_eq!(client.read_to_end().unwrap(), b"end");
    // By another name it is found by what is said in it.
    let inner_name = begins("inner.test");
    talk(&mut inner_name.connect(), b"*1\r\n$4\r\nPING\r\n");
    // A name that the certificate is not for is not believed.
    assert!(begins("other.test").connect().read_some().is_err());

    let tls = Arc::new(ca.trusted_by(&[&rustls::version::TLS13], None));
    let mut direct = Client::connect_tls(inner.addr(), "outer.test", &tls).unwrap();
    direct.send("*1\r\n").unwrap();
    assert_eq!(direct.read_exact(4).unwrap(), b"*1\r\n");
}

#[test]
fn a_hello_in_pieces_is_waited_for_and_a_broken_one_is_not() {
    let Some(openssl) = peer("openssl") else { return };
    let ca = Authority::new("ca");
    let site = https(&ca, "one.test");
    let cases = r#".peekTimeout = 20s  case $serverName == "one.test" { tcpxProxy { .toBackend = "one" } }"#;
    let router = start(&config(&backend("one", site.addr()), cases));
    let mut command = Command::new(openssl);
    command.args(["s_client", "-brief", "-split_send_frag", "512", "-servername", "one.test"]);
    command.arg("-CAfile").arg(ca.certificate()).arg("-verify_return_error");
    command.arg("-connect").arg(router.addr().to_string()).stdin(std::process::Stdio::null());
    let done = command.output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains("Verification: OK"), "{said}");
    let mut broken = router.connect();
    broken.send([22, 3, 1, 0, 5, 2, 0, 0, 0, 0]).unwrap();
    let _ = broken.expect_close();
}
