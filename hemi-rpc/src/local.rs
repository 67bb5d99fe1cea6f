//! Calls of services that came by another protocol than rpcx: each is one of rpcx that is never sent.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hemi_core::clock::Moment;
use hemi_core::listen::Peer;
use hemi_proto::rpcx::{
    self, AUTH_KEY, CodecId, Compression, Decoded, ERROR_KEY, Head, Limits, Metadata, Mode,
};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::exchange::{Done, Exchange, Outcome, Route, Wire};
use crate::server::Shared;
use crate::{Asking, Fault, Pusher, Refusal};

/// A call.
pub(crate) struct LocalCall<'a> {
    pub(crate) server: &'a Arc<Shared>,
    pub(crate) route: &'a Arc<Route>,
    pub(crate) method: &'a str,
    pub(crate) peer: Peer,
    pub(crate) codec: CodecId,
    pub(crate) metadata: Metadata,
    pub(crate) message: &'a [u8],
    pub(crate) deadline: Moment,
}

/// What it has come to.
pub(crate) struct LocalReply {
    /// Why it has failed, if it has.
    pub(crate) failed: Option<String>,
    pub(crate) metadata: Metadata,
    pub(crate) payload: Bytes,
}

/// Why a service is not asked.
pub(crate) enum Refused {
    /// It has no such method.
    NoMethod(String),
    /// A guard does not let the call pass.
    Guarded(Fault),
}

impl LocalCall<'_> {
    pub(crate) async fn make(self) -> Result<LocalReply, Refused> {
        let Self { server, route, method, peer, codec, metadata, message, deadline } = self;
        if !route.service.methods().contains(&method) {
            return Err(Refused::NoMethod(format!("rpcx: can't find method {method}")));
        }
        let (service, method) = (route.name.as_bytes(), method.as_bytes());
        let asking = Asking { peer: &peer, service, method, metadata: metadata.pairs() };
        server.admit(&asking).map_err(|refusal| {
            server.counters.refused.add(1);
            match refusal {
                Refusal::Call(fault) | Refusal::Connection(fault) => Refused::Guarded(fault),
            }
        })?;
        server.counters.calls.add(1);
        let (mode, compression) = (Mode::Call, Compression::NONE);
        let frame = rpcx::Frame {
            head: Head { version: 0, mode, compression, codec, seq: 0 },
            service,
            method,
            metadata: metadata.pairs(),
            payload: message,
        };
        let (pusher, mut out) = (Pusher::new(Wire::Rpcx), BytesMut::new());
        // Nobody is there to take what is pushed.
        pusher.lock().gone = true;
        let payload = Cow::Borrowed(message);
        let exchange = Exchange {
            frame,
            payload,
            deadline,
            peer,
            route,
            pusher: &pusher,
            server,
            wire: Wire::Rpcx,
            out: &mut out,
        };
        let Outcome(done) = route.service.call(exchange);
        let answer = match done {
            Done::Now => out,
            Done::Later(pending) => pending.await,
        };
        let limits = Limits { message: u32::MAX as usize, metadata: u32::MAX as usize };
        let Ok(Decoded::Frame(answer, _)) = rpcx::decode(&answer, limits) else {
            let failed = Some("the answer can't be read".to_owned());
            return Ok(LocalReply { failed, metadata: Metadata::new(), payload: Bytes::new() });
        };
        let failed = answer.head.mode == Mode::Failure;
        let text = || answer.metadata.text(ERROR_KEY).unwrap_or_default().to_owned();
        Ok(LocalReply {
            failed: failed.then(text),
            metadata: answer.metadata.into(),
            payload: Bytes::copy_from_slice(answer.payload),
        })
    }
}

/// What a caller by HTTP says besides; `authorization` is the token of rpcx.
pub(crate) fn metadata_of(headers: &HeaderMap) -> Metadata {
    let mut metadata = Metadata::new();
    for (name, value) in headers {
        let name = name.as_str();
        let is_ours = name.starts_with("grpc-")
            || name.starts_with("x-rpcx-")
            || name.starts_with("__")
            || matches!(name, "te" | "content-type" | "content-length" | "user-agent" | "host");
        if !is_ours {
            metadata.set(name, value.as_bytes());
        }
    }
    if let Some(token) = headers.get(AUTHORIZATION) {
        metadata.set(AUTH_KEY, token.as_bytes());
    }
    metadata
}
