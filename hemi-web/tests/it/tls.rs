//! Connections over TLS, as clients see them.

mod hostile;
mod peers;
mod shown;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use hemi_test::eventually;
use hemi_test::raw::Client;
use hemi_test::tls::{Authority, Identity, KeyKind};
use rustls::crypto::aws_lc_rs::cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 as RSA_SUITE;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind};

use crate::site::{PATIENCE, Site, ask};

/// Two webapps with certificates of their own, and properties of the server and of the second one.
fn config(one: &Identity, two: &Identity, server: &str, second: &str) -> String {
    format!(
        r#"stage {{
            webapp "one" {{
                .hostnames = ("one.test", "*.one.test")  .maxBodySize = 100M  {}
                rule $path == "/vars" {{
                    .returnCode = 200
                    .returnText = $scheme + " " + $tlsVersion + " " + $tlsCipher + " " + $tlsServerName
                        + " " + $tlsResumed
                }}
                rule {{ shout {{}}  probe {{}} }}
            }}
            webapp "two" {{ .hostnames = ("two.test")  {} {second}  rule {{ probe {{}} }} }}
            httpxServer "main" {{
                .address = "127.0.0.1:0"  .webapps = ("one", "two")  .tlsMode = true  {server}
            }}
        }}"#,
        one.properties(),
        two.properties(),
    )
}

struct Setting {
    ca: Authority,
    one: Identity,
    two: Identity,
}

impl Setting {
    fn new() -> Self {
        let ca = Authority::new("ca");
        let one = ca.server(&["one.test", "*.one.test"], KeyKind::Ecdsa);
        let two = ca.server(&["two.test"], KeyKind::Rsa);
        Self { ca, one, two }
    }

    fn site(&self, server: &str, second: &str) -> Site {
        Site::of(&config(&self.one, &self.two, server, second))
    }

    fn client(&self) -> Arc<ClientConfig> {
        Arc::new(self.ca.trusted_by(&[&TLS13, &TLS12], None))
    }
}

fn connect(site: &Site, name: &str, config: &Arc<ClientConfig>) -> Client {
    Client::connect_tls(site.addr(), name, config).unwrap()
}

/// Asks for a path of a host.
#[track_caller]
fn get(client: &mut Client, host: &str, path: &str) -> (u16, String) {
    client.send(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n")).unwrap();
    let reply = client.read_response().unwrap();
    (reply.status, reply.text())
}

#[test]
fn both_versions_are_spoken_and_sessions_resumed() {
    let setting = Setting::new();
    let site = setting.site("", "");
    for (version, name, cipher) in [
        (&TLS13, "TLSv1.3", "TLS_AES_128_GCM_SHA256"),
        (&TLS12, "TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
    ] {
        let config = Arc::new(setting.ca.trusted_by(&[version], None));
        for (resumed, kind) in [(0, HandshakeKind::Full), (1, HandshakeKind::Resumed)] {
            let mut client = connect(&site, "one.test", &config);
            let expected = format!("https {name} {cipher} one.test {resumed}");
            assert_eq!(get(&mut client, "one.test", "/vars"), (200, expected));
            let seen = client.tls().unwrap().handshake_kind().unwrap();
            assert!(
                seen == kind || (kind == HandshakeKind::Full && seen != HandshakeKind::Resumed)
            );
        }
    }
    site.expect_counter("handshakes", 2);
    site.expect_counter("resumed", 2);
    let measures = site.status().measures;
    let (labels, expiry) = measures.series("hemi_tls_certificate_expiry_seconds").next().unwrap();
    assert!(labels.value("webapp").is_some() && expiry.number().unwrap() > 1.8e9, "{expiry:?}");
}

#[test]
fn certificates_are_chosen_by_name_and_unknown_names_get_the_default_or_nothing() {
    let setting = Setting::new();
    let config = setting.client();
    let site = setting.site("", "");
    for (name, host) in
        [("one.test", "one.test"), ("a.one.test", "a.one.test"), ("two.test", "two.test")]
    {
        assert_eq!(get(&mut connect(&site, name, &config), host, "/now"), (200, "now".into()));
    }
    // The certificate of the first is shown, which is not for that name.
    let refused = Client::connect_tls(site.addr(), "other.test", &config).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidData);
    site.expect_counter("handshake_refused", 1);
    let strict = setting.site(".tlsUnknownName = \"refuse\"", "");
    let refused = Client::connect_tls(strict.addr(), "other.test", &config).unwrap_err();
    assert!(refused.to_string().contains("UnrecognisedName"), "{refused}");
    strict.expect_counter("unknown_name", 1);
}

#[test]
fn large_answers_and_uploads_pass_and_both_ends_are_told() {
    let setting = Setting::new();
    let site = setting.site(".halfClosedTimeout = 1m", "");
    let mut client = connect(&site, "one.test", &setting.client());
    let content = vec![b'x'; 5 << 20];
    let head = format!(
        "POST /echo HTTP/1.1\r\nhost: one.test\r\ncontent-length: {}\r\n\r\n",
        content.len()
    );
    client.send([head.as_bytes(), &content].concat()).unwrap();
    let reply = client.read_response().unwrap();
    assert_eq!((reply.status, reply.body.len()), (200, content.len()));
    client.send("GET /now HTTP/1.1\r\nhost: one.test\r\nconnection: close\r\n\r\n").unwrap();
    assert_eq!(client.read_response().unwrap().text(), "now");
    // Without the server's last word this would be an error.
    client.expect_close().unwrap();
    let mut client = connect(&site, "one.test", &setting.client());
    client.send("GET /wait/50 HTTP/1.1\r\nhost: one.test\r\n\r\n").unwrap();
    client.finish().unwrap();
    assert_eq!(client.read_response().unwrap().status, 200);
    client.expect_close().unwrap();
    site.expect_idle();
}

#[test]
fn a_connection_serves_only_hosts_it_is_good_for() {
    let setting = Setting::new();
    let ca = setting.ca.certificate();
    let demands = format!(".tlsClientAuth = \"optional\"  .tlsClientCa = \"{}\"", ca.display());
    let both = setting.ca.server(&["one.test", "two.test"], KeyKind::Ecdsa);
    let config = setting.client();
    let site = setting.site("", "");
    let mut client = connect(&site, "one.test", &config);
    assert_eq!(get(&mut client, "a.one.test", "/now").0, 200);
    assert_eq!(get(&mut client, "two.test", "/now").0, 421);
    assert_eq!(get(&mut client, "one.test", "/now").0, 200);
    site.expect_counter("misdirected", 1);
    // One certificate for both is enough, unless one of them asks for certificates.
    let site = Site::of(&self::config(&both, &both, "", ""));
    assert_eq!(get(&mut connect(&site, "one.test", &config), "two.test", "/now").0, 200);
    let site = Site::of(&self::config(&both, &both, "", &demands));
    assert_eq!(get(&mut connect(&site, "one.test", &config), "two.test", "/now").0, 421);
    assert_eq!(get(&mut connect(&site, "two.test", &config), "one.test", "/now").0, 421);
}

#[test]
fn what_is_no_tls_and_who_is_silent_is_cut() {
    let setting = Setting::new();
    let site = setting.site(".tlsHandshakeTimeout = 300ms", "");
    let mut plain = site.connect();
    plain.send("GET / HTTP/1.1\r\nhost: one.test\r\n\r\n").unwrap();
    let told = plain.read_response().unwrap();
    assert_eq!((told.status, &*told.text()), (400, "This port is for https, not http.\n"));
    plain.expect_close().unwrap();
    let mut other = site.connect();
    other.send([0x80, 0x2e, 1, 0, 2]).unwrap();
    other.expect_close().unwrap();
    site.expect_counter("not_tls", 2);
    let mut silent = site.connect();
    silent.send([0x16, 3, 1, 0, 100, 1]).unwrap();
    silent.expect_close().unwrap();
    site.expect_counter("handshake_timeout", 1);
    site.expect_idle();
}

#[test]
fn mistakes_are_told_with_their_place() {
    let setting = Setting::new();
    let (one, two) = (&setting.one, &setting.two);
    let load = |one: &Identity| Site::try_of(&config(one, two, "", "")).err().unwrap();
    let mixed = Identity { key: two.key.clone(), ..one.clone() };
    let told = load(&mixed);
    assert!(told.contains("is not that of the certificate") && told.contains("test:"), "{told}");
    let missing = Identity { certificate: "/nowhere.pem".into(), ..one.clone() };
    let told = load(&missing);
    assert!(told.contains("cannot read /nowhere.pem") && told.contains("test:"), "{told}");
    let keyless = Identity { key: "/nowhere.key".into(), ..one.clone() };
    let (told, text) = (load(&keyless), config(&keyless, two, "", ""));
    // The quote before the path is meant.
    let before = &text[..text.find("/nowhere.key").unwrap() - 1];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let (line, column) = (before.matches('\n').count() + 1, before.len() - line_start + 1);
    let place = format!("test:{line}:{column}: error: cannot read /nowhere.key");
    assert!(told.contains(&place), "{place} is not in {told}");
    let swapped = Identity { certificate: one.key.clone(), ..one.clone() };
    assert!(load(&swapped).contains("there is no certificate in"), "{}", load(&swapped));
}

/// Whom the second webapp sees, or why there is no connection.
fn seen_by(site: &Site, config: &Arc<ClientConfig>) -> Result<String, String> {
    let ask = || {
        let mut client = Client::connect_tls(site.addr(), "two.test", config)?;
        client.send("GET /who HTTP/1.1\r\nhost: two.test\r\n\r\n")?;
        client.read_response()
    };
    ask().map(|reply| reply.text()).map_err(|e| e.to_string())
}

pub(crate) const WHO: &str = r#"rule $path == "/who" {
    .returnCode = 200
    .returnText = "<" + $tlsClientSubject + "> <" + $tlsClientSpiffe + "> " + $tlsResumed
}"#;

#[test]
fn certificates_of_clients_are_asked_for_verified_and_told() {
    let setting = Setting::new();
    let other = Authority::new("other");
    let mia = setting.ca.client("mia.test", "spiffe://test/mia");
    let eve = setting.ca.client("eve.test", "spiffe://test/eve");
    let stranger = other.client("mia.test", "spiffe://test/mia");
    let (ca, crl) = (setting.ca.certificate(), setting.ca.revoke(&[&eve]));
    let demand = |auth: &str| {
        format!(
            ".tlsClientAuth = \"{auth}\"  .tlsClientCa = \"{}\"  .tlsClientCrl = \"{}\"  {WHO}",
            ca.display(),
            crl.display()
        )
    };
    let (optional, required) =
        (setting.site("", &demand("optional")), setting.site("", &demand("required")));
    let off = setting.site("", WHO);
    let mias = "<O=Test\\, Inc.,CN=mia.test> <spiffe://test/mia> 0";
    for version in [&TLS13, &TLS12] {
        let client = |identity| Arc::new(setting.ca.trusted_by(&[version], identity));
        assert_eq!(seen_by(&off, &client(Some(&mia))), Ok("<> <> 0".into()));
        assert_eq!(seen_by(&optional, &client(None)), Ok("<> <> 0".into()));
        assert!(seen_by(&required, &client(None)).unwrap_err().contains("alert"));
        for site in [&optional, &required] {
            assert_eq!(seen_by(site, &client(Some(&mia))), Ok(mias.into()));
            let told = seen_by(site, &client(Some(&eve))).unwrap_err();
            assert!(told.contains("CertificateRevoked"), "{told}");
            let told = seen_by(site, &client(Some(&stranger))).unwrap_err();
            assert!(told.contains("alert"), "{told}");
        }
    }
    required.expect_counter("client_certificate", 6);
}

#[test]
fn sessions_are_resumed_after_reloads_but_not_where_other_clients_are_let_in() {
    let setting = Setting::new();
    let mia = setting.ca.client("mia.test", "spiffe://test/mia");
    let demand = |auth: &str| {
        let ca = setting.ca.certificate();
        format!(".tlsClientAuth = \"{auth}\"  .tlsClientCa = \"{}\"  {WHO}", ca.display())
    };
    let of = |auth: &str| config(&setting.one, &setting.two, "", &demand(auth));
    let mut site = Site::of(&of("required"));
    let client = Arc::new(setting.ca.trusted_by(&[&TLS13], Some(&mia)));
    let resumed = |site: &Site| seen_by(site, &client).unwrap().ends_with("> 1");
    assert!(!resumed(&site));
    assert!(resumed(&site));
    site.load(&of("required")).unwrap();
    assert!(resumed(&site));
    assert!(seen_by(&site, &client).unwrap().contains("CN=mia.test"));
    site.load(&of("optional")).unwrap();
    // The stage before may still have accepted the first.
    assert!(eventually(PATIENCE, || !resumed(&site)));
    let off = config(&setting.one, &setting.two, "", WHO);
    site.load(&off).unwrap();
    assert!(eventually(PATIENCE, || !resumed(&site)));
}

#[test]
fn certificates_that_change_are_shown_without_a_handshake_lost() {
    let setting = Setting::new();
    let site = setting.site("", "");
    let client = setting.client();
    let serial_of = |client: &Client| {
        let certificate = client.tls().unwrap().peer_certificates().unwrap()[0].clone();
        hemi_proto::x509::Certificate::parse(&certificate).unwrap().serial.to_vec()
    };
    let fresh = || {
        let mut config = (*client).clone();
        config.resumption = rustls::client::Resumption::disabled();
        Arc::new(config)
    };
    let first = serial_of(&connect(&site, "one.test", &fresh()));
    let (stop, addr) = (AtomicBool::new(false), site.addr());
    thread::scope(|scope| {
        for _ in 0..2 {
            // Every handshake of these has to be one, whatever happens to the files.
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let mut client = Client::connect_tls(addr, "one.test", &fresh()).unwrap();
                    assert_eq!(get(&mut client, "one.test", "/now").0, 200);
                }
            });
        }
        let shown = (0..3).all(|_| {
            // The same names: the same files.
            let newer = setting.ca.server(&["one.test", "*.one.test"], KeyKind::Ecdsa);
            eventually(PATIENCE, || {
                newer.serial.as_ref() == serial_of(&connect(&site, "one.test", &fresh()))
            })
        });
        stop.store(true, Ordering::Relaxed);
        assert!(shown, "a newer certificate is not shown");
    });
    assert_ne!(serial_of(&connect(&site, "one.test", &fresh())), first);
}

#[test]
fn an_rsa_and_an_ecdsa_certificate_are_chosen_by_what_the_client_can() {
    let setting = Setting::new();
    let rsa = setting.ca.server(&["one.test"], KeyKind::Rsa);
    let ecdsa = setting.ca.server(&["one.test"], KeyKind::Ecdsa);
    let config = format!(
        r#"stage {{
            webapp "one" {{
                .hostnames = ("one.test")
                .tlsCertificate = ("{}", "{}")  .tlsPrivateKey = ("{}", "{}")
                rule {{ .returnCode = 200  .returnText = $tlsCipher }}
            }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("one")  .tlsMode = true }}
        }}"#,
        rsa.certificate.display(),
        ecdsa.certificate.display(),
        rsa.key.display(),
        ecdsa.key.display(),
    );
    let site = Site::of(&config);
    for (suites, expected) in [
        (&[][..], "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        (&[RSA_SUITE], "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ] {
        let client = setting.ca.client_of_suites(&[&TLS12], suites);
        let mut client = connect(&site, "one.test", &Arc::new(client));
        assert_eq!(get(&mut client, "one.test", "/"), (200, expected.into()));
    }
}

#[test]
fn a_site_in_the_clear_has_no_tls() {
    let site = Site::with("");
    assert_eq!(ask(&mut site.connect(), "GET", "/now"), (200, "now".into()));
}
