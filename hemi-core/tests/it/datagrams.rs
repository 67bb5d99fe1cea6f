//! Servers that receive datagrams: their addresses, and their sockets from one stage to the next.

use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hemi_core::config::{Source, Spanned};
use hemi_core::listen::{Address, Datagrams};
use hemi_core::server::{Server, ServerKind, ServerRegistry};
use hemi_core::{
    Component, CreateCx, Engine, Explain, Lifecycle, Prepare, Registry, Result, Run, check,
};
use serde::Deserialize;

/// Properties of both servers.
#[derive(Deserialize, Explain)]
struct At {
    /// Where it receives or listens.
    address: Spanned<Address>,
    /// What it answers with.
    #[serde(default)]
    answer: String,
}

struct Answers {
    at: SocketAddr,
    answer: String,
    datagrams: OnceLock<Arc<Datagrams>>,
}

impl Component for Answers {
    const SIGN: &'static str = "answers";
    type Config = At;

    fn create(config: At, cx: &mut CreateCx<'_>) -> Result<Self> {
        let at = cx.receive_on(config.address)?;
        Ok(Self { at, answer: config.answer, datagrams: OnceLock::new() })
    }
}

impl Lifecycle for Answers {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        let _ = self.datagrams.set(cx.listeners().open_datagrams(self.at, cx.cores())?);
        Ok(())
    }

    async fn run(&self, cx: &Run) {
        let datagrams = self.datagrams.get().unwrap();
        let sockets = (0..cx.cores().count()).map(|core| {
            let (datagrams, answer) = (datagrams.clone(), self.answer.clone());
            let shut = cx.shut().clone();
            cx.cores().spawn(core, async move {
                let (socket, mut buf) = (datagrams.socket(core).unwrap(), [0; 64]);
                while let Some(got) = shut.run_until_cancelled(socket.recv_from(&mut buf)).await {
                    socket.send_to(answer.as_bytes(), got.unwrap().1).await.unwrap();
                }
            })
        });
        for socket in sockets.collect::<Vec<_>>() {
            socket.await.unwrap();
        }
    }
}

impl Server for Answers {
    fn addresses(&self) -> Vec<Address> {
        self.datagrams.get().map(|d| d.address().clone()).into_iter().collect()
    }
}

/// A server that only listens, and that in its config.
struct Streams;

impl Component for Streams {
    const SIGN: &'static str = "streams";
    type Config = At;

    fn create(config: At, cx: &mut CreateCx<'_>) -> Result<Self> {
        cx.listen_on(config.address).map(|_| Self)
    }
}

impl Lifecycle for Streams {}
impl Server for Streams {}

fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.server::<Answers>().server::<Streams>();
    registry
}

#[test]
fn an_address_has_one_server_for_streams_and_one_for_datagrams() {
    for (servers, error) in [
        (["answers", "streams"], None),
        (["answers", "answers"], Some("two servers receive on 127.0.0.1:53")),
        (["streams", "streams"], Some("two servers listen on 127.0.0.1:53")),
    ] {
        let [one, other] = servers;
        let text = format!(
            "stage {{ .address = \"127.0.0.1:53\"  {one} \"a\" {{}}  {other} \"b\" {{}} }}"
        );
        let result = check(&registry(), &Source::text("servers", text), &Default::default());
        let found = result.err().map(|e| e.to_string());
        assert_eq!(found.is_some(), error.is_some(), "{servers:?}");
        assert!(found.unwrap_or_default().contains(error.unwrap_or_default()), "{servers:?}");
    }
    let text = "stage { answers \"a\" { .address = \"/run/a.sock\" } }";
    let e = check(&registry(), &Source::text("servers", text), &Default::default()).unwrap_err();
    assert!(e.to_string().contains("datagrams come by UDP only"), "{e}");
}

#[test]
fn sockets_go_from_one_stage_to_the_next() {
    let mut engine = Engine::on(registry(), NonZeroUsize::new(2).unwrap()).unwrap();
    let load = |engine: &mut Engine, answer: &str| {
        let text = format!(
            "stage {{ answers \"a\" {{ .address = \"127.0.0.1:0\"  .answer = \"{answer}\" }} }}"
        );
        let stage = engine.load(&Source::text("servers", text)).unwrap();
        match stage.find::<ServerKind>("a").unwrap().addresses()[..] {
            [Address::Tcp(address)] => address,
            _ => panic!("no address"),
        }
    };
    let address = load(&mut engine, "one");
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let ask = || {
        let mut buf = [0; 8];
        client.send(b"?").unwrap();
        let length = client.recv(&mut buf).unwrap();
        String::from_utf8(buf[..length].to_vec()).unwrap()
    };
    assert_eq!(ask(), "one");
    assert_eq!(load(&mut engine, "two"), address);
    // Either stage may answer while one drains, but one does.
    assert!(hemi_test::eventually(Duration::from_secs(30), || ask() == "two"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(engine.quit());
    UdpSocket::bind(address).unwrap();
}
