//! Calls that go to a node by HRPC.

use std::future::poll_fn;

use hemi_proto::grpc::{FLAG_COMPRESSED, Frames, parse_timeout};
use hemi_proto::hrpc::Code;
use hemi_proto::rpcx::{ERROR_KEY, Metadata};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use tonic::Status;

use super::TIMEOUT;
use super::body::{AnswerBody, Asked, Content, Pump};
use super::conn::Sent;
use crate::grpc::hrpc::{Incoming, code_of, headers_of, send_all, trailers_of};
use crate::hrpc::{Ended, Pipe};
use crate::local::metadata_of;
use crate::{Client, RpcError};

/// Bytes that a message of an answer may have.
pub(super) const LONGEST: usize = 64 << 20;

/// Gives the stream up when nobody wants the answer any more; if it is over, nothing happens.
pub(super) struct Wanted(Pipe);

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// Sends a call, and waits for the head of its answer.
pub(super) async fn send(client: &Client, asked: Asked) -> Sent {
    let Asked { head, content, until } = asked;
    let headers = head.headers();
    let gzip = headers.get("grpc-encoding").is_some_and(|encoding| encoding == "gzip");
    let timeout = headers.get(TIMEOUT).and_then(|timeout| parse_timeout(timeout.as_bytes()));
    let path = head.uri().path().trim_start_matches('/');
    let (service, method) = path.rsplit_once('/').unwrap_or((path, ""));
    let pipe = match client.open(service, method, &metadata_of(headers), timeout).await {
        Ok(pipe) => pipe,
        Err(RpcError::Unwritable(e)) => {
            return Sent::Lost(Status::resource_exhausted(e.to_string()), None);
        }
        Err(e) => {
            return Sent::Unseen(
                Status::unavailable(format!("{}: {e}", client.endpoint())),
                content,
            );
        }
    };
    let wanted = Wanted(pipe.clone());
    let mut frames = Frames::new(usize::MAX);
    let (back, pump) = match content {
        Content::Whole(bytes) => {
            frames.push(bytes.clone());
            // There is room for what is held already.
            while let Ok(Some(frame)) = frames.take() {
                let compressed = frame.flags & FLAG_COMPRESSED != 0 && gzip;
                pipe.send(u8::from(compressed), frame.message);
            }
            pipe.finish(Code::OK, Metadata::new());
            (Some(Content::Whole(bytes)), None)
        }
        Content::Streamed(first, body) => {
            frames.push(first);
            let sending = pipe.clone();
            let pump = Pump::spawn(async move {
                match send_all(&sending, gzip, frames, body).await {
                    Ok(_) => sending.finish(Code::OK, Metadata::new()),
                    Err(_) => sending.give_up(),
                }
            });
            (None, Some(pump))
        }
    };
    let mut headers = HeaderMap::new();
    match poll_fn(|cx| pipe.poll_head(cx)).await {
        Ok(metadata) => headers = headers_of(metadata.pairs()),
        Err(Ended { code, metadata, broken: true }) => {
            let text = metadata.text(ERROR_KEY).unwrap_or_default();
            let status = Status::new(code_of(code), text);
            return match (code, back) {
                (Code::REFUSED, Some(content)) => Sent::Unseen(status, content),
                (_, back) => Sent::Lost(status, back),
            };
        }
        Err(ended) => headers.extend(trailers_of(ended.code, ended.metadata.pairs())),
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let incoming = Incoming::ended_by_trailers(pipe, LONGEST);
    let mut answer = http::Response::new(AnswerBody::hrpc(incoming, wanted, pump, until));
    *answer.headers_mut() = headers;
    Sent::Answered(answer, back)
}
