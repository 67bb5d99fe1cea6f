//! Requests in the first packets of a client that comes again (RFC 9001 section 4.6, RFC 8470).

use http::Request;

use super::client::{Client, Setting, block_on};

#[test]
fn safe_requests_are_answered_before_the_handshake_is_over() {
    let setting = Setting::new();
    let site = setting.site(".quicEarlyData = true");
    block_on(async {
        let endpoint = setting.endpoint();
        let connect = || endpoint.connect(site.addr(), "one.test").unwrap();
        let first = Client::over(endpoint.clone(), connect().await.unwrap()).await;
        assert_eq!(first.get("/now").await.text(), "now");
        for (request, status) in [
            (Request::get("https://one.test/now"), 200),
            (Request::post("https://one.test/now"), 425),
        ] {
            let (quic, accepted) = connect().into_0rtt().expect("there is a session");
            let client = Client::over(endpoint.clone(), quic).await;
            let answer = client.request(request, &[], None).await;
            assert!(accepted.await, "early data was refused");
            assert_eq!(answer.head.status(), status);
            // After that everything may come.
            assert_eq!(client.post("/read", &[]).await.text(), "0 bytes");
        }
    });
}

#[test]
fn by_default_there_is_no_early_data() {
    let setting = Setting::new();
    let site = setting.site("");
    block_on(async {
        let endpoint = setting.endpoint();
        let connect = || endpoint.connect(site.addr(), "one.test").unwrap();
        let first = Client::over(endpoint.clone(), connect().await.unwrap()).await;
        assert_eq!(first.get("/now").await.text(), "now");
        assert!(connect().into_0rtt().is_err());
    });
}
