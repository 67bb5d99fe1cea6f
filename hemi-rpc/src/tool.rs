//! What `rpc` does on the command line: lists, describes and calls services elsewhere, measures how long that takes, and
//! tells what is said on connections.

mod args;
mod bench;
mod codec;
mod describe;
mod dump;
mod reflect;

use std::io::Write;

use bytes::Bytes;
use futures_util::stream;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tokio::runtime::{Builder, Runtime};
use tonic::client::Grpc;
use tonic::metadata::{AsciiMetadataKey, MetadataMap};
use tonic::{Request, Status};

use self::codec::Dynamic;
use crate::grpc::{read_json, write_json};
use crate::{Client, CodecId, GrpcChannel, RawPayload, RpcError};

const USAGE: &str = "say what: list ADDRESS, describe ADDRESS SERVICE, call ADDRESS SERVICE/METHOD [JSON...] \
                     [FIELD=VALUE...], bench ADDRESS SERVICE/METHOD [JSON|@FILE] [FIELD=VALUE...], or dump [FILE...]";

/// Does what the arguments say.
///
/// # Errors
/// When they say nothing that can be done, or it fails.
pub(crate) fn run(arguments: &[String], out: &mut dyn Write) -> Result<(), String> {
    let known = match arguments.first().map(String::as_str) {
        Some("bench") => bench::OPTIONS,
        Some("dump") => dump::OPTIONS,
        _ => &[],
    };
    let (arguments, said) = args::read(arguments, known)?;
    if let ["bench", address, method, ref rest @ ..] = arguments[..] {
        return bench::run([address, method], rest, &said, out);
    }
    if let ["dump", ref files @ ..] = arguments[..] {
        return dump::run(files, &said, out);
    }
    runtime()?.block_on(async {
        match arguments[..] {
            ["list", address] => list(address, out).await,
            ["describe", address, symbol] => {
                let pool = reflect::pool_with(&channel(address)?, symbol).await?;
                let text = describe::symbol(&pool, symbol);
                say(out, &text.ok_or_else(|| format!("{symbol} is not known there"))?)
            }
            ["call", address, method, ref rest @ ..] => {
                let (service, method) = split(method)?;
                let (metadata, messages): (Vec<&str>, _) =
                    rest.iter().copied().partition(|text| is_field(text));
                match address.strip_prefix("rpcx@") {
                    Some(address) => {
                        call_rpcx(address, service, method, &metadata, &messages, out).await
                    }
                    None => call(address, service, method, &metadata, &messages, out).await,
                }
            }
            _ => Err(USAGE.to_owned()),
        }
    })
}

fn runtime() -> Result<Runtime, String> {
    Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())
}

fn channel(address: &str) -> Result<GrpcChannel, String> {
    GrpcChannel::to(address).map_err(|e| e.to_string())
}

fn say(out: &mut dyn Write, text: &str) -> Result<(), String> {
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|e| e.to_string())
}

/// A service and a method, between which there is a slash, or a dot.
fn split(path: &str) -> Result<(&str, &str), String> {
    let path = path.trim_start_matches('/');
    let parts = path.split_once('/').or_else(|| path.rsplit_once('.'));
    parts.ok_or_else(|| format!("{path} is no SERVICE/METHOD"))
}

/// Whether an argument is metadata and no message.
fn is_field(text: &str) -> bool {
    let name = text.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| {
        !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
    })
}

async fn list(address: &str, out: &mut dyn Write) -> Result<(), String> {
    let services = reflect::services(&channel(address)?).await?;
    services.iter().try_for_each(|service| say(out, service))
}

async fn call(
    address: &str,
    service: &str,
    method: &str,
    metadata: &[&str],
    messages: &[&str],
    out: &mut dyn Write,
) -> Result<(), String> {
    let channel = channel(address)?;
    let pool = reflect::pool_with(&channel, service).await?;
    let found = pool.get_service_by_name(service);
    let method = found.and_then(|found| found.methods().find(|known| known.name() == method));
    let method = method.ok_or_else(|| format!("{service} has no such method there"))?;
    let messages = match messages {
        [] => vec![DynamicMessage::new(method.input())],
        messages => {
            let read = messages.iter().map(|json| read_json(&method.input(), json.as_bytes()));
            read.collect::<Result<_, Status>>().map_err(|e| e.message().to_owned())?
        }
    };
    answers(channel, &method, messages, metadata, out).await.map_err(|e| match e {
        Failed::Status(status) => shown(&status),
        Failed::Other(text) => text,
    })
}

/// Why a call has come to nothing.
enum Failed {
    Status(Status),
    Other(String),
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

async fn answers(
    channel: GrpcChannel,
    method: &MethodDescriptor,
    messages: Vec<DynamicMessage>,
    fields: &[&str],
    out: &mut dyn Write,
) -> Result<(), Failed> {
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let path = http::uri::PathAndQuery::try_from(path).map_err(|e| Failed::Other(e.to_string()))?;
    let mut request = Request::new(stream::iter(messages));
    put(fields, request.metadata_mut()).map_err(Failed::Other)?;
    let mut client = Grpc::new(channel).max_decoding_message_size(usize::MAX);
    client.ready().await?;
    let codec = Dynamic(method.output());
    let mut replies = client.streaming(request, path, codec).await?.into_inner();
    while let Some(reply) = replies.message().await? {
        let json = write_json(&reply)?;
        say(out, &String::from_utf8_lossy(&json)).map_err(Failed::Other)?;
    }
    Ok(())
}

fn put(fields: &[&str], metadata: &mut MetadataMap) -> Result<(), String> {
    for (name, value) in fields.iter().filter_map(|field| field.split_once('=')) {
        let bad = || format!("{name}={value} can't be sent as metadata");
        let key = AsciiMetadataKey::from_bytes(name.to_ascii_lowercase().as_bytes());
        metadata.insert(key.map_err(|_| bad())?, value.parse().map_err(|_| bad())?);
    }
    Ok(())
}

fn shown(status: &Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

async fn call_rpcx(
    address: &str,
    service: &str,
    method: &str,
    fields: &[&str],
    messages: &[&str],
    out: &mut dyn Write,
) -> Result<(), String> {
    let argument = match messages {
        [] => "{}",
        [one] => one,
        _ => return Err("a call of rpcx has one argument".to_owned()),
    };
    let client = Client::to(address).map_err(|e| e.to_string())?;
    let mut ask = client.ask(service, method).codec(CodecId::JSON);
    for (name, value) in fields.iter().filter_map(|field| field.split_once('=')) {
        ask = ask.metadata(name, value);
    }
    let argument = RawPayload(Bytes::copy_from_slice(argument.as_bytes()));
    let reply: RawPayload = ask.call(&argument).await.map_err(|e: RpcError| e.to_string())?;
    say(out, &String::from_utf8_lossy(&reply.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_metadata_are_told_apart() {
        for (text, field) in [
            ("authorization=Bearer tok", true),
            ("X-Id=1", true),
            (r#"{"a": "b=c"}"#, false),
            ("\"a=b\"", false),
            ("[1]", false),
            ("=x", false),
        ] {
            assert_eq!(is_field(text), field, "{text}");
        }
        assert_eq!(split("a.B/C"), Ok(("a.B", "C")));
        assert_eq!(split("a.B.C"), Ok(("a.B", "C")));
        assert!(split("a").is_err());
    }
}
