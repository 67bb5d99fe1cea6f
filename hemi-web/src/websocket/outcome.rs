//! What the handle of a WebSocket may return, and what it is closed with.

use hemi_proto::websocket::{Close, CloseCode};
use tracing::{debug, error};

use super::SocketError;
use crate::body::BoxError;

/// How the handle of a WebSocket has ended.
///
/// Nothing, and `Ok`, close it with 1000. An error closes it with 1011 and is logged; a [`SocketError`] is
/// the client's, who knows already.
pub trait Outcome {
    /// What to close with.
    fn close(self) -> Close;
}

impl Outcome for () {
    fn close(self) -> Close {
        CloseCode::NORMAL.into()
    }
}

impl<E: Into<BoxError>> Outcome for Result<(), E> {
    fn close(self) -> Close {
        let Err(e) = self.map_err(Into::into) else { return ().close() };
        match e.downcast_ref() {
            Some(SocketError::Json) => Close::new(CloseCode::INVALID_DATA, "not the JSON expected"),
            Some(e) => {
                debug!("WebSocket ended: {e}");
                ().close()
            }
            None => {
                error!("WebSocket failed: {e}");
                CloseCode::INTERNAL_ERROR.into()
            }
        }
    }
}
