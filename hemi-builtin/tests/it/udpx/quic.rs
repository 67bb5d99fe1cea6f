//! QUIC through a router, by the name that a client asks for.

use hemi_test::peer::modules::python;
use hemi_test::tls::{Authority, KeyKind};

use super::counter;
use crate::quix::ask;
use crate::server::{Running, load};

/// A site of HTTP/3 with this page.
pub(crate) fn http3(ca: &Authority, host: &str, page: &str) -> Running {
    let identity = ca.server(&[host], KeyKind::Ecdsa);
    let text = format!(
        r#"stage {{
            webapp "w" {{ .hostnames = ("*")  {}
                rule {{ .returnCode = 200  .returnText = "{page}" }} }}
            http3Server "main" {{ .address = "127.0.0.1:0"  .webapps = ("w") }}
        }}"#,
        identity.properties()
    );
    load(1, &text).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn two_sites_of_http3_on_one_port_without_their_keys() {
    let Some(_) = python("aioquic") else { return };
    let ca = Authority::new("ca");
    let (one, two) = (http3(&ca, "one.test", "one.test"), http3(&ca, "two.test", "two.test"));
    let text = format!(
        r#"stage {{
            udpxBackend "one" {{ node {{ .address = "{}" }} }}
            udpxBackend "two" {{ node {{ .address = "{}" }} }}
            udpxRouter "main" {{ .address = "127.0.0.1:0"
                case $serverName == "one.test" && $protocol == "quic" {{ udpxProxy {{ .toBackend = "one" }} }}
                case $serverName $= ".test" && $nextProto ^= "h3" {{ udpxProxy {{ .toBackend = "two" }} }}
            }}
        }}"#,
        one.addr(),
        two.addr()
    );
    let router = load(2, &text).unwrap_or_else(|e| panic!("{e}"));
    // A hello of one datagram, and one of several.
    for more in [0, 3000] {
        for host in ["one.test", "two.test"] {
            assert_eq!(ask(&router, &ca, (host, more), &[]), [host]);
        }
    }
    assert_eq!(counter(&router, "sessions_opened"), 4);
    // What asks for nobody here is dropped, and so is what is no QUIC.
    let client = super::client(&router);
    client.send(b"something else").unwrap();
    assert!(hemi_test::eventually(super::LONG, || counter(&router, "datagrams_unmatched") == 1));
}
