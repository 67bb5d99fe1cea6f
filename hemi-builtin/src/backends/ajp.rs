//! The backend `ajpBackend`: servlet containers that speak AJP 1.3, such as Tomcat.
//!
//! ```gorox
//! stage {
//! 	ajpBackend "tomcat" {
//! 		node { .address = "127.0.0.1:8009" }
//! 		.secret = "as in Tomcat's server.xml"
//! 	}
//! 	webapp "site" { .hostnames = ("*")  rule { ajpProxy { .toBackend = "tomcat" } } }
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("site") }
//! }
//! ```
//!
//! Who can connect to a container by AJP is believed whatever it says about clients: let nobody else, and
//! agree on a secret.

mod codec;

use bytes::BytesMut;
use hemi_core::backend::{Nodes, Pick};
use hemi_core::config::{Diagnostic, Secret, Size, Spanned};
use hemi_core::io::Outbox;
use hemi_core::metrics::Measures;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Prepare, Result, Run};
use hemi_proto::ajp::{self, Forward, MAX_PACKET, PACKET, encode_forward};
use hemi_web::{Body, Call, Gateway, Response, Undelivered};
use http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderName};
use serde::Deserialize;

use super::exchange::Exchange;
use super::group::{Group, GroupConfig};
use codec::Ajp;

/// Passes requests on to servlet containers.
#[derive(Clone, Debug, Default, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct AjpConfig {
    /// What proves to the container that we may ask: its `secret`.
    pub secret: Option<Secret>,
    /// Bytes of a packet, at most, from 8K to 64K: the container's `packetSize`; 8K if not said. A request
    /// whose fields are larger is answered 501.
    pub packet_size: Option<Spanned<Size>>,
    /// Whether a kept connection is first asked whether the container is still there (CPing).
    pub ping: bool,
}

/// Servlet containers that speak AJP.
#[derive(Debug)]
pub struct AjpBackend {
    group: Group,
    secret: Option<Secret>,
    packet: usize,
    ping: bool,
}

impl Component for AjpBackend {
    const SIGN: &'static str = "ajpBackend";
    const ABOUT: Option<&'static str> =
        Some("Servlet containers that speak AJP 1.3, such as Tomcat.");
    type Config = (GroupConfig, AjpConfig);

    fn create((group, own): Self::Config, cx: &mut CreateCx<'_>) -> Result<Self> {
        let sizes = PACKET as u64..=MAX_PACKET as u64;
        let packet = own.packet_size.as_ref().map_or(*sizes.start(), |size| size.value.0);
        if let Some(size) = own.packet_size.filter(|_| !sizes.contains(&packet)) {
            return Err(Diagnostic::new(size.span, "a packet of AJP has 8K to 64K").into());
        }
        let group = Group::create(group, None, cx)?;
        Ok(Self { group, secret: own.secret, packet: packet as usize, ping: own.ping })
    }
}

impl Lifecycle for AjpBackend {
    fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        self.group.prepare(cx)
    }

    async fn run(&self, cx: &Run) {
        self.group.run(cx).await;
    }

    fn measure(&self, out: &mut Measures) {
        self.group.measure(out);
    }
}

impl Gateway for AjpBackend {
    fn nodes(&self) -> &Nodes {
        &self.group.nodes
    }

    fn protocol(&self) -> &'static str {
        "AJP"
    }

    async fn send(
        &self,
        pick: Pick,
        call: &Call<'_>,
        body: Body,
    ) -> Result<Response, Box<Undelivered>> {
        let mut head = BytesMut::new();
        let length = body.len();
        if self.put_head(&mut head, call, length).is_err() {
            return Err(Undelivered::unsendable(pick, "its head is larger than a packet of AJP"));
        }
        let head = head.freeze();
        let begin = |conn: super::conns::Conn, pick, body| {
            let mut out = Outbox::default();
            let ping = self.ping && conn.is_used();
            let codec = Ajp::begin(call.method, self.packet, length, head.clone(), ping, &mut out);
            Exchange::new(self.group.shared.clone(), conn, pick, codec, out, body)
        };
        self.group.shared.send(pick, body, None, begin).await
    }
}

impl AjpBackend {
    fn put_head(
        &self,
        out: &mut BytesMut,
        call: &Call<'_>,
        length: Option<u64>,
    ) -> Result<(), ajp::TooLarge> {
        let headers = fields(call, length);
        let params: Vec<_> = call
            .params
            .iter()
            .filter_map(|(name, value)| Some((&**name, str::from_utf8(value).ok()?)))
            .collect();
        let tls = call.tls.map(|cipher| ajp::Tls { cipher: Some(cipher), ..Default::default() });
        let forward = Forward {
            method: call.method,
            protocol: call.protocol,
            path: call.path,
            query: call.query,
            remote_addr: call.remote_addr,
            server_name: call.server_name,
            server_port: call.server_port,
            tls,
            headers: &headers,
            secret: self.secret.as_ref().map(Secret::expose),
            user: call.user,
            route: None,
            attributes: &params,
        };
        encode_forward(out, &forward, self.packet)
    }
}

/// The fields that the container is sent: those of the client, but for what is about its connection.
fn fields(call: &Call<'_>, length: Option<u64>) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(call.headers.keys_len() + 2);
    for (name, value) in call.headers {
        if !is_of_connection(name) {
            fields.append(name.clone(), value.clone());
        }
    }
    if let Ok(host) = HeaderValue::try_from(call.authority) {
        fields.insert(HOST, host);
    }
    match length {
        Some(0) if !call.headers.contains_key(CONTENT_LENGTH) => {}
        Some(length) => {
            fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        None => {
            fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
    fields
}

fn is_of_connection(name: &HeaderName) -> bool {
    [CONNECTION, CONTENT_LENGTH, EXPECT, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE]
        .contains(name)
        || matches!(name.as_str(), "keep-alive" | "proxy-connection" | "proxy")
}
