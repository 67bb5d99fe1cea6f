//! Servers that are asked over TLS, by components that ask.

use std::time::Duration;

use hemi_test::eventually;
use hemi_test::tls::{Authority, Identity, KeyKind};

use crate::server::{Running, load, site_on};

/// A server over TLS that answers 204, and tells whom it has seen.
fn asked(identity: &Identity, properties: &str) -> Running {
    let config = format!(
        r#"stage {{
            webapp "site" {{
                .hostnames = ("*")  {} {properties}
                rule {{
                    headers {{ .setResponse = ["x-seen": $scheme + " " + $tlsClientSans + " " + $tlsResumed] }}
                }}
                rule {{ .returnCode = 204 }}
            }}
            httpxServer "main" {{ .address = "127.0.0.1:0"  .webapps = ("site")  .tlsMode = true }}
        }}"#,
        identity.properties()
    );
    load(1, &config).unwrap_or_else(|e| panic!("{e}"))
}

/// Asks it about a request: the status, and what it has seen.
fn ask(asked: &Running, properties: &str) -> (u16, String) {
    let guard = site_on(
        1,
        "",
        &format!(
            r#"rule {{ forwardAuth {{
                .url = "https://127.0.0.1:{}/"  .copyFields = ("x-seen")  {properties}
            }} }}
            rule {{ .returnCode = 200  .returnText = $header_x_seen }}"#,
            asked.addr().port()
        ),
    );
    let reply = guard.get("/");
    (reply.status, reply.text())
}

#[test]
fn only_servers_with_a_certificate_that_is_believed_and_for_the_name_are_asked() {
    let ca = Authority::new("ca");
    let trust = format!(".tlsTrustedCa = \"{}\"", ca.certificate().display());
    let by_address = ca.server(&["127.0.0.1"], KeyKind::Ecdsa);
    let server = asked(&by_address, "");
    assert_eq!(ask(&server, &trust), (200, "https  0".into()));
    assert_eq!(ask(&server, &format!("{trust} .tlsPeerName = \"other.test\"")).0, 503);
    assert_eq!(ask(&server, "").0, 503);
    let revoked = ca.revoke(&[&by_address]);
    let revoked = format!("{trust} .tlsTrustedCrl = \"{}\"", revoked.display());
    assert_eq!(ask(&server, &revoked).0, 503);
    let by_name = ca.server(&["auth.test"], KeyKind::Rsa);
    let server = asked(&by_name, "");
    assert_eq!(ask(&server, &trust).0, 503);
    assert_eq!(ask(&server, &format!("{trust} .tlsPeerName = \"auth.test\"")).0, 200);
}

#[test]
fn a_certificate_is_shown_to_servers_that_want_one() {
    let ca = Authority::new("ca");
    let ca_file = ca.certificate();
    let demands =
        format!(".tlsClientAuth = \"required\"  .tlsClientCa = \"{}\"", ca_file.display());
    let server = asked(&ca.server(&["127.0.0.1"], KeyKind::Ecdsa), &demands);
    let trust = format!(".tlsTrustedCa = \"{}\"", ca_file.display());
    assert_eq!(ask(&server, &trust).0, 503);
    let ours = ca.client("guard.test", "spiffe://test/guard");
    let (certificate, key) = (ours.certificate.display(), ours.key.display());
    let shown = format!("{trust} .tlsIdentity = \"{certificate}\"  .tlsIdentityKey = \"{key}\"");
    let seen = "https dns:guard.test,uri:spiffe://test/guard 0";
    assert_eq!(ask(&server, &shown), (200, seen.into()));
}

/// Passes a request on to the server: the status, and what it has seen.
fn pass(asked: &Running, properties: &str) -> (u16, String) {
    let reply = proxy(asked, properties).get("/");
    (reply.status, reply.header("x-seen").unwrap_or_default().to_owned())
}

/// Who passes requests on to the server.
fn proxy(asked: &Running, properties: &str) -> Running {
    let port = asked.addr().port();
    let backend = format!(
        r#"http1Backend "nodes" {{
            .tlsMode = true  {properties}  node {{ .address = "localhost:{port}" }}
        }}"#
    );
    site_on(1, &backend, r#"rule { httpProxy { .toBackend = "nodes" } }"#)
}

#[test]
fn requests_are_passed_on_over_tls_to_nodes_that_are_believed() {
    let ca = Authority::new("ca");
    let trust = format!(".tlsTrustedCa = \"{}\"", ca.certificate().display());
    let server = asked(&ca.server(&["localhost"], KeyKind::Ecdsa), "");
    assert_eq!(pass(&server, &trust), (204, "https  0".into()));
    assert_eq!(pass(&server, &format!("{trust} .tlsPeerName = \"other.test\"")).0, 502);
    assert_eq!(pass(&server, "").0, 502);
    let server = asked(&ca.server(&["node.test"], KeyKind::Ecdsa), "");
    assert_eq!(pass(&server, &trust).0, 502);
    assert_eq!(pass(&server, &format!("{trust} .tlsPeerName = \"node.test\"")).0, 204);
}

#[test]
fn files_with_what_is_believed_are_read_again() {
    let (ca, other) = (Authority::new("ca"), Authority::new("other"));
    let server = asked(&ca.server(&["localhost"], KeyKind::Ecdsa), "");
    let believed = other.certificate();
    let proxy = proxy(&server, &format!(".tlsTrustedCa = \"{}\"", believed.display()));
    assert_eq!(proxy.get("/").status, 502);
    std::fs::write(&believed, "noise").unwrap();
    assert_eq!(proxy.get("/").status, 502);
    std::fs::copy(ca.certificate(), &believed).unwrap();
    assert!(eventually(Duration::from_secs(30), || proxy.get("/").status == 204));
}
