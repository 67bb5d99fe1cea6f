//! An engine with a server of the services, in the process of the test.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use hemi_core::config::Source;
use hemi_core::gate::GateConfig;
use hemi_core::listen::Address;
use hemi_core::server::{Server, ServerKind};
use hemi_core::{Engine, Parts, Registry};
use hemi_proto::rpcx::{self, Compression, Decoded, Frame, Head, Limits, Metadata, Mode, Pairs};
use hemi_rpc::{
    Asking, CodecId, Compressions, Fault, GrpcRegistry, Payload, Refusal, RpcxLimits, RpcxServer,
    ServiceRegistry, Snappy, Zstd,
};
use hemi_test::eventually;
use hemi_test::raw::Client;

use crate::grpc::{InteropService, LibraryService};
use crate::services::{Arith, Echoes, Proto, Raw};

/// Longer than anything that is waited for should take.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// A server at work.
pub(crate) struct Running {
    engine: Engine,
    server: Arc<dyn Server>,
}

pub(crate) fn serve() -> Running {
    serve_with(RpcxLimits::default())
}

pub(crate) fn serve_with(limits: RpcxLimits) -> Running {
    let address = "127.0.0.1:0".parse().unwrap();
    let server = RpcxServer::with_config(address, limits, GateConfig::default());
    let compressions = Compressions::default().with(2, Zstd).with(3, Snappy);
    let server = server.service(Arith).service(Raw).service(Proto).compressions(compressions);
    serve_this(server.service_as("Secret", Arc::new(Arith)).guard(|asking: &Asking<'_>| {
        let good = asking.service != b"Secret" || asking.token() == Some(b"Bearer tok");
        if good { Ok(()) } else { Err(Refusal::Connection(Fault::new("who are you?"))) }
    }))
}

/// By a config that has a server `main`.
pub(crate) fn serve_config(config: &str) -> Running {
    let mut registry = Registry::new();
    hemi_web::register(&mut registry);
    hemi_rpc::register(&mut registry);
    registry.service::<Echoes>().grpc_service::<InteropService>();
    registry.grpc_service::<LibraryService>();
    let mut engine = engine(registry);
    let loaded = engine.load(&Source::text("test.conf", config));
    let stage = loaded.unwrap_or_else(|e| panic!("{e}"));
    let server = stage.find::<ServerKind>("main").unwrap();
    Running { engine, server }
}

fn engine(registry: Registry) -> Engine {
    let engine = Engine::on(registry, NonZeroUsize::new(2).unwrap()).unwrap();
    match hemi_test::io_driver() {
        Some(driver) => engine.io(driver.parse().unwrap()).unwrap(),
        None => engine,
    }
}

pub(crate) fn serve_this(server: RpcxServer) -> Running {
    serve_parts(|parts| drop(server.install("main", parts).unwrap()))
}

/// By code that adds a server `main`.
pub(crate) fn serve_parts(add: impl FnOnce(&mut Parts)) -> Running {
    let mut engine = engine(Registry::new());
    let mut parts = Parts::new();
    add(&mut parts);
    let stage = engine.load_parts(parts).unwrap();
    let server = stage.find::<ServerKind>("main").unwrap();
    Running { engine, server }
}

impl Running {
    pub(crate) fn addr(&self) -> SocketAddr {
        match self.server.addresses().first() {
            Some(Address::Tcp(address)) => *address,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn connect(&self) -> Caller {
        Caller { client: Client::connect(self.addr()).unwrap(), received: Vec::new() }
    }

    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.server.counters().iter().find(|(known, _)| *known == name).unwrap().1
    }

    pub(crate) fn await_counter(&self, name: &str, value: u64) {
        assert!(eventually(LONG, || self.counter(name) == value), "{name}: {}", self.counter(name));
    }

    /// Drains it.
    pub(crate) fn quit(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(self.engine.quit());
    }
}

/// A client that sees every byte.
pub(crate) struct Caller {
    client: Client,
    received: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    pub(crate) service: String,
    pub(crate) method: String,
    pub(crate) metadata: Metadata,
    pub(crate) payload: Vec<u8>,
}

impl Answer {
    /// The text of an error, if it is one.
    pub(crate) fn error(&self) -> Option<&str> {
        let failed = self.head.mode == Mode::Failure;
        failed.then(|| self.metadata.text(rpcx::ERROR_KEY).unwrap())
    }

    pub(crate) fn reply<T: Payload>(&self) -> T {
        assert_eq!(self.error(), None);
        T::decode(self.head.codec, &self.payload).unwrap()
    }
}

/// A call of `Arith`, in JSON.
pub(crate) fn call(seq: u64, method: &str, json: &str) -> Vec<u8> {
    frame(Mode::Call, CodecId::JSON, seq, ("Arith", method), Pairs::NONE, json.as_bytes())
}

pub(crate) fn frame(
    mode: Mode,
    codec: CodecId,
    seq: u64,
    (service, method): (&str, &str),
    metadata: Pairs<'_>,
    payload: &[u8],
) -> Vec<u8> {
    let head = Head { version: 0, mode, compression: Compression::NONE, codec, seq };
    let (service, method) = (service.as_bytes(), method.as_bytes());
    let mut out = BytesMut::new();
    rpcx::encode(&mut out, &Frame { head, service, method, metadata, payload });
    out.to_vec()
}

impl Caller {
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.client.send(bytes).unwrap();
        self
    }

    /// The next answer, or push.
    pub(crate) fn answer(&mut self) -> Answer {
        let limits = Limits { message: 1 << 30, metadata: 1 << 20 };
        loop {
            if let Decoded::Frame(frame, length) = rpcx::decode(&self.received, limits).unwrap() {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let answer = Answer {
                    head: frame.head,
                    service: text(frame.service),
                    method: text(frame.method),
                    metadata: frame.metadata.into(),
                    payload: frame.payload.to_vec(),
                };
                self.received.drain(..length);
                return answer;
            }
            let more = self.client.read_some().unwrap();
            assert!(!more.is_empty(), "the connection was closed");
            self.received.extend(more);
        }
    }

    /// Exactly these bytes come.
    pub(crate) fn expect(&mut self, bytes: &[u8]) -> &mut Self {
        assert!(self.received.is_empty());
        assert_eq!(self.client.read_exact(bytes.len()).unwrap(), bytes);
        self
    }

    /// The server closes, and says nothing more.
    pub(crate) fn expect_close(&mut self) {
        assert!(self.received.is_empty());
        self.client.expect_close().unwrap();
    }

    pub(crate) fn finish(&mut self) -> &mut Self {
        self.client.finish().unwrap();
        self
    }
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}
