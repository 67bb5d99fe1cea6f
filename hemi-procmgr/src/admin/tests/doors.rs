//! The token of viewers, and TLS with certificates of servers and clients.

use hemi_test::tls::{Authority, KeyKind};

use super::{FORM, Fake, JSON, TOKEN, Under, exchange};
use crate::admin::Identity;
use crate::control::Act;
use hemi_test::raw::Client;

const VIEWER: &str = "a token for those who only look";

#[test]
fn viewers_look_and_do_nothing() {
    let under = Under::new();
    let bearer = format!("authorization: Bearer {VIEWER}");
    for target in ["/v1/status", "/v1/config", "/metrics"] {
        assert_eq!(under.ask_at("cmdui", &format!("GET {target}\n{bearer}"), "").status, 200);
    }
    for act in ["reload", "stop", "quit"] {
        let reply = under.ask_at("cmdui", &format!("POST /v1/{act}\n{JSON}\n{bearer}"), "{}");
        assert_eq!(reply.status, 403);
        assert!(reply.text().contains("for looking only"), "{}", reply.text());
    }
    // A session is as good as the token that it began with.
    let origin = "origin: http://localhost";
    for (token, buttons, status) in [(VIEWER, false, 403), (TOKEN, true, 303)] {
        let session = under.log_in_with(token);
        let page = under.ask_at("webui", &format!("GET /\ncookie: {session}"), "").text();
        assert!(page.contains("Overview"), "{page}");
        assert_eq!(page.contains("action=\"/act\""), buttons, "{page}");
        let press = format!("POST /act\ncookie: {session}\n{origin}\n{FORM}");
        assert_eq!(under.ask_at("webui", &press, "act=reload").status, status);
        let leave = format!("POST /logout\ncookie: {session}\n{origin}\n{FORM}");
        assert_eq!(under.ask_at("webui", &leave, "").status, 303);
    }
    assert_eq!(under.leader.acts(), [Act::Reload]);
}

#[test]
fn over_tls_a_token_is_shown_or_a_certificate() {
    let ca = Authority::new("ca");
    let server = ca.server(&["localhost"], KeyKind::Ecdsa);
    let identity = |client_ca| Identity {
        certificate: server.certificate.clone(),
        key: server.key.clone(),
        client_ca,
    };
    let versions = [&rustls::version::TLS13];
    let stranger = std::sync::Arc::new(ca.trusted_by(&versions, None));
    let friend = ca.client("operator", "https://test/operator");
    let friend = std::sync::Arc::new(ca.trusted_by(&versions, Some(&friend)));
    let command = format!("POST /v1/reload\n{JSON}");
    let with_token = format!("{command}\nauthorization: Bearer {TOKEN}");

    let under = Under::by(Fake::new(), Some(identity(None)));
    let tls =
        |under: &Under, name, config| Client::connect_tls(under.port(name), "localhost", config);
    assert_eq!(exchange(tls(&under, "cmdui", &stranger), &command, "{}").status, 401);
    assert_eq!(exchange(tls(&under, "cmdui", &stranger), &with_token, "{}").status, 200);
    let login = format!("POST /login\norigin: https://localhost\n{FORM}");
    let token = format!("token={}", TOKEN.replace(' ', "+"));
    let reply = exchange(tls(&under, "webui", &stranger), &login, &token);
    assert_eq!(reply.status, 303);
    assert!(reply.header("set-cookie").unwrap().contains("Secure"));
    // In the clear nothing is served.
    let clear = exchange(Client::connect(under.port("cmdui")), &with_token, "{}");
    assert_eq!(clear.status, 400);
    assert_eq!(under.leader.acts(), [Act::Reload]);

    let under = Under::by(Fake::new(), Some(identity(Some(ca.certificate()))));
    let refused = tls(&under, "cmdui", &stranger).and_then(|mut client| {
        client.send("GET /v1/status HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
        client.read_response()
    });
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(exchange(tls(&under, "cmdui", &friend), &command, "{}").status, 200);
    assert_eq!(exchange(tls(&under, "webui", &friend), "GET /", "").status, 200);
    // A browser shows the certificate for pages of others too.
    for origin in ["origin: https://evil.test", "x-nothing: of note"] {
        let press = format!("POST /act\n{origin}\n{FORM}");
        assert_eq!(exchange(tls(&under, "webui", &friend), &press, "act=quit").status, 403);
    }
    let press = format!("POST /act\norigin: https://localhost\n{FORM}");
    assert_eq!(exchange(tls(&under, "webui", &friend), &press, "act=rework").status, 303);
    assert_eq!(under.leader.acts(), [Act::Reload, Act::Rework]);
}
