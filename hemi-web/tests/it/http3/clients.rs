//! Certificates that clients show by QUIC.

use hemi_core::quic::quinn::{ClientConfig, ConnectionError};
use hemi_test::tls::Authority;
use http::{Request, StatusCode};

use super::client::{Client, Setting, block_on};
use crate::site::Site;
use crate::tls::WHO;

/// What the webapp says who has asked, or the code with which the connection was closed.
async fn seen_by(setting: &Setting, site: &Site, config: &ClientConfig) -> Result<String, u64> {
    let endpoint = setting.endpoint();
    let code = |error: ConnectionError| match error {
        ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
        other => panic!("{other}"),
    };
    let connecting = endpoint.connect_with(config.clone(), site.addr(), "small.test").unwrap();
    let quic = connecting.await.map_err(code)?;
    // The client is done before the server has seen its certificate.
    let asked = async {
        let client = Client::over(endpoint.clone(), quic.clone()).await;
        let answer = client.try_request(Request::get("https://small.test/who"), &[], None).await;
        answer.ok().map(|answer| answer.text())
    };
    tokio::select! {
        biased;
        error = quic.closed() => Err(code(error)),
        Some(text) = asked => Ok(text),
    }
}

/// Of an alert (RFC 9001 section 4.8).
const fn crypto(alert: u8) -> u64 {
    0x100 + alert as u64
}

#[test]
fn certificates_of_clients_are_asked_for_verified_and_told() {
    let setting = Setting::new();
    let other = Authority::new("other");
    let mia = setting.ca.client("mia.test", "spiffe://test/mia");
    let eve = setting.ca.client("eve.test", "spiffe://test/eve");
    let (ca, crl) = (setting.ca.certificate(), setting.ca.revoke(&[&eve]));
    let demand = |auth: &str| {
        format!(
            ".tlsClientAuth = \"{auth}\"  .tlsClientCa = \"{}\"  .tlsClientCrl = \"{}\"  {WHO}",
            ca.display(),
            crl.display()
        )
    };
    let (nobody, mia, eve) = (setting.quic(), setting.quic_as(&mia), setting.quic_as(&eve));
    let stranger = setting.quic_as(&other.client("mia.test", "spiffe://test/mia"));
    let mias = "<O=Test\\, Inc.,CN=mia.test> <spiffe://test/mia> 0";
    let off = setting.demanding(WHO, "");
    block_on(async { assert_eq!(seen_by(&setting, &off, &mia).await, Ok("<> <> 0".into())) });
    for properties in ["", ".quicEarlyData = true"] {
        let optional = setting.demanding(&demand("optional"), properties);
        let required = setting.demanding(&demand("required"), properties);
        block_on(async {
            assert_eq!(seen_by(&setting, &optional, &nobody).await, Ok("<> <> 0".into()));
            assert_eq!(seen_by(&setting, &required, &nobody).await, Err(crypto(116)));
            for site in [&optional, &required] {
                // The second time by a session, if there is one.
                assert_eq!(seen_by(&setting, site, &mia).await, Ok(mias.into()));
                assert_eq!(seen_by(&setting, site, &mia).await, Ok(mias.into()));
                assert_eq!(seen_by(&setting, site, &eve).await, Err(crypto(44)));
                assert_eq!(seen_by(&setting, site, &stranger).await, Err(crypto(48)));
            }
        });
    }
}

#[test]
fn webapps_that_ask_for_none_are_not_the_way_to_one_that_does() {
    let setting = Setting::new();
    let other = Authority::new("other");
    let stranger = other.client("mia.test", "spiffe://test/mia");
    let ca = setting.ca.certificate();
    let demand = format!(".tlsClientAuth = \"optional\"  .tlsClientCa = \"{}\"", ca.display());
    let site = setting.demanding(&demand, ".quicEarlyData = true");
    block_on(async {
        let endpoint = setting.endpoint();
        // Nobody asks to see this certificate, else it would be refused.
        let config = setting.quic_as(&stranger);
        let quic = endpoint.connect_with(config, site.addr(), "one.test").unwrap().await.unwrap();
        let client = Client::over(endpoint, quic).await;
        assert_eq!(client.get("/now").await.text(), "now");
        let other = client.request(Request::get("https://small.test/now"), &[], None).await;
        assert_eq!(other.head.status(), StatusCode::MISDIRECTED_REQUEST);
    });
}
