//! Why a call has come to nothing.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hemi_proto::hrpc::Code;
use hemi_proto::rpcx::{CodecId, ERROR_KEY, Metadata};

use crate::{CodecError, Payload};

/// Why a call has come to nothing. Cheap to clone.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RpcError {
    /// The service has answered so.
    #[error(transparent)]
    Failed(Arc<Failure>),
    /// No answer came in time.
    #[error("no answer came in time")]
    TimedOut,
    /// No node is there that may be called now.
    #[error("there is no node to call")]
    NoNode,
    /// There is no connection to be had: nothing was sent.
    #[error("cannot connect to {0}")]
    Unreachable(Arc<str>),
    /// The server has not looked at the call, and will not: it is about to end, or has too much to do.
    #[error("the server does not take the call")]
    Refused,
    /// The connection has ended before the answer came.
    #[error("the connection was lost: {0}")]
    Lost(Arc<str>),
    /// The argument can't be written in the codec: nothing was sent.
    #[error("the argument {0}")]
    Unwritable(CodecError),
    /// What came back is not such a reply.
    #[error("the reply {0}")]
    Unreadable(CodecError),
}

impl RpcError {
    /// Whether the service can't have seen the call.
    #[must_use]
    pub fn is_unsent(&self) -> bool {
        matches!(self, Self::NoNode | Self::Unreachable(_) | Self::Refused | Self::Unwritable(_))
    }

    pub(crate) fn lost(why: impl fmt::Display) -> Self {
        Self::Lost(why.to_string().into())
    }
}

/// What a service has answered to a call that has failed there.
#[derive(Clone, Debug)]
pub struct Failure {
    pub(crate) code: Code,
    pub(crate) codec: CodecId,
    pub(crate) metadata: Metadata,
    pub(crate) payload: Bytes,
}

impl Failure {
    /// What it says.
    #[must_use]
    pub fn text(&self) -> &str {
        self.metadata.text(ERROR_KEY).unwrap_or("the service has failed")
    }

    /// What kind of error it is: [`Code::UNKNOWN`] by rpcx, which has no such thing.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// What it says besides.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The payload that came with it, as it is.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// What came with it, if something did.
    ///
    /// # Errors
    /// When it is not such a value.
    pub fn reply<T: Payload>(&self) -> Result<Option<T>, CodecError> {
        if self.payload.is_empty() {
            return Ok(None);
        }
        T::decode(self.codec, &self.payload).map(Some)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Failure {}
