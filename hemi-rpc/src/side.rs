//! Streams and files beside calls, as rpcx has them: a call is answered with a token, and a connection that begins with it is
//! the caller's, with no frames.
//!
//! In Go these connections come to a port of their own; here they come to that of the server, whose tokens begin with a byte
//! that nothing else does.

mod client;
mod stream;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use hemi_core::BoxFuture;
use hemi_core::clock::{self, Moment};
use hemi_proto::rpcx::CodecId;
use serde::{Deserialize, Serialize};

pub use self::stream::SideStream;
use crate::codec::{binary, decode_serde, encode_serde, or_default};
use crate::{CodecError, Exchange, Fault, Holds, Outcome, Payload, Service};

/// What a token begins with: no frame of rpcx or HRPC does, nor TLS or HTTP.
pub(crate) const FIRST: u8 = 0xa9;

/// Bytes of a token.
pub(crate) const TOKEN: usize = 32;

/// Tokens that wait for their connections, at most: the oldest are forgotten.
const WAITING: usize = 1000;

/// Bytes of a name and of what else is said of a stream or file, at most: they wait with the token.
const SAID: usize = 8 << 10;

/// How long a token is good.
const GOOD: Duration = Duration::from_secs(30);

/// The service that gives tokens for streams.
pub(crate) const STREAMS: &str = "_streamservice";

/// The service that gives tokens for files.
pub(crate) const FILES: &str = "_filetransfer";

/// What somebody says of a stream or file besides.
pub type SideMeta = BTreeMap<String, String>;

/// A file that is sent or asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SideFile {
    /// What the caller calls it: nothing that may be opened without a look.
    pub name: String,
    /// Bytes that it has; 0 if it is asked for.
    pub size: u64,
    /// What else is said.
    pub meta: SideMeta,
}

/// What is done with a stream.
type Work = Box<dyn FnOnce(SideStream) -> BoxFuture<'static, ()> + Send>;

/// Takes streams, or files.
pub(crate) type Taker<T> = Arc<dyn Fn(SideStream, T) -> BoxFuture<'static, ()> + Send + Sync>;

/// Tokens that were given, and where connections with them come to.
#[derive(Default)]
pub(crate) struct Tokens {
    waiting: Mutex<HashMap<[u8; TOKEN], (Moment, Work)>>,
    /// What callers connect to.
    pub(crate) at: OnceLock<String>,
}

impl Tokens {
    fn give(&self, work: Work) -> Result<Given, Fault> {
        let addr = self.at.get().cloned();
        let addr = addr.ok_or_else(|| Fault::new("the server does not say where it is"))?;
        let mut token = [FIRST; TOKEN];
        getrandom::fill(&mut token[1..]).map_err(|e| Fault::new(e.to_string()))?;
        let now = clock::now();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, (until, _)| *until > now);
        if waiting.len() >= WAITING
            && let Some(oldest) = waiting.iter().min_by_key(|(_, (until, _))| *until)
        {
            let oldest = *oldest.0;
            waiting.remove(&oldest);
        }
        waiting.insert(token, (now.after(GOOD), work));
        Ok(Given { token: token.to_vec(), addr })
    }

    /// What is to be done with a connection that begins so, once.
    pub(crate) fn take(&self, token: &[u8; TOKEN]) -> Option<Work> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(token).filter(|(until, _)| *until > clock::now()).map(|(_, work)| work)
    }
}

/// Gives tokens for streams.
pub(crate) struct Streams {
    tokens: Arc<Tokens>,
    taker: Taker<SideMeta>,
}

/// Gives tokens for files.
#[derive(Default)]
pub(crate) struct Files {
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) uploads: Option<Taker<SideFile>>,
    pub(crate) downloads: Option<Taker<SideFile>>,
}

/// Has something done with each stream that comes.
pub(crate) fn taker<T, F, Fut>(take: F) -> Taker<T>
where
    T: 'static,
    F: Fn(SideStream, T) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    Arc::new(move |stream, asked| Box::pin(take(stream, asked)))
}

impl Streams {
    pub(crate) fn new(tokens: Arc<Tokens>, taker: Taker<SideMeta>) -> Self {
        Self { tokens, taker }
    }
}

impl Service for Streams {
    const NAME: &'static str = STREAMS;
    const METHODS: &'static [&'static str] = &["Stream"];

    fn call<H: Holds<Self>>(this: H, exchange: Exchange<'_>) -> Outcome {
        match exchange.method() {
            b"Stream" => exchange.now("Stream", |asked: Asked| {
                let taker = this.taker.clone();
                let Asked { meta, .. } = asked.checked()?;
                this.tokens.give(Box::new(move |stream| taker(stream, meta)))
            }),
            _ => exchange.unknown_method(),
        }
    }
}

impl Service for Files {
    const NAME: &'static str = FILES;
    const METHODS: &'static [&'static str] = &["TransferFile", "DownloadFile"];

    fn call<H: Holds<Self>>(this: H, exchange: Exchange<'_>) -> Outcome {
        let upload = exchange.method() == b"TransferFile";
        match (exchange.method(), &this.uploads, &this.downloads) {
            (b"TransferFile", Some(taker), _) | (b"DownloadFile", _, Some(taker)) => {
                let taker = taker.clone();
                let method = Self::METHODS[usize::from(!upload)];
                exchange.now(method, |asked: Asked| {
                    let Asked { name, size, meta } = asked.checked()?;
                    let size = u64::try_from(size).map_err(|_| Fault::new("a size below 0"))?;
                    let file = SideFile { name, size, meta };
                    this.tokens.give(Box::new(move |stream| {
                        // Go sends what is left in its buffer behind the file.
                        taker(if upload { stream.limited(size) } else { stream }, file)
                    }))
                })
            }
            _ => exchange.unknown_method(),
        }
    }
}

/// What is asked for: all arguments of Go in one.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Asked {
    #[serde(rename = "FileName", deserialize_with = "or_default")]
    name: String,
    #[serde(rename = "FileSize", deserialize_with = "or_default")]
    size: i64,
    #[serde(deserialize_with = "or_default")]
    meta: SideMeta,
}

/// A token, and where to go with it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Given {
    #[serde(with = "binary")]
    token: Vec<u8>,
    addr: String,
}

impl Asked {
    /// The same, if not too much is said.
    fn checked(self) -> Result<Self, Fault> {
        let meta = self.meta.iter().map(|(key, value)| key.len() + value.len() + SIDES);
        match self.name.len() + meta.sum::<usize>() {
            ..=SAID => Ok(self),
            _ => Err(Fault::new("its name and metadata are longer than 8 KiB")),
        }
    }
}

/// Bytes that a pair takes besides.
const SIDES: usize = 64;

macro_rules! payload {
    ($($ty:ty),+) => {
        $(impl Payload for $ty {
            fn encode(&self, codec: CodecId, out: &mut bytes::BytesMut) -> Result<(), CodecError> {
                encode_serde(self, codec, out)
            }

            fn decode(codec: CodecId, bytes: &[u8]) -> Result<Self, CodecError> {
                decode_serde(codec, bytes)
            }
        })+
    };
}

payload!(Asked, Given);
