//! A WebSocket whose messages go on to a node, and come from there: each side is spoken to by what it has agreed
//! to, and pinged by itself.

use std::sync::Arc;

use hemi_core::BoxFuture;
use hemi_core::gate::Outlook;
use hemi_proto::websocket::{CloseCode, Decoder, Role};
use http::StatusCode;
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL, UPGRADE,
};

use super::driver::Driver;
use super::state::Shared;
use super::{SocketReceiver, SocketSender, WebSocket, WebSocketConfig, WebSocketUpgrade};
use crate::{Response, Upgraded};

/// Bytes on their way between a connection to a node and who reads its messages, each way.
const PIPE: usize = 64 << 10;

type GoOn = Box<dyn FnOnce(Upgraded) -> BoxFuture<'static, ()> + Send>;

impl WebSocketUpgrade {
    /// The answer, after which whole messages go to a node and come from it: to one that has answered so to being
    /// asked for a WebSocket without extensions. If it has not agreed, its answer.
    #[must_use]
    pub fn pass_on(mut self, mut node: Response) -> Response {
        let Some(go_on) = node.take_upgrade() else { return node };
        if let Some(chosen) = node.headers().get(SEC_WEBSOCKET_PROTOCOL) {
            self = self.protocols(chosen.to_str().ok());
            // Of those that the client has offered.
            if self.protocol().is_none() {
                return StatusCode::BAD_GATEWAY.into();
            }
        }
        if node.headers().contains_key(SEC_WEBSOCKET_EXTENSIONS) {
            return StatusCode::BAD_GATEWAY.into();
        }
        let config = self.properties().clone();
        let mut response = self.answer(move |client, outlook| pass(client, go_on, config, outlook));
        let handshake = [CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL, UPGRADE];
        for (name, value) in node.headers() {
            if !handshake.contains(name) {
                response.headers_mut().append(name.clone(), value.clone());
            }
        }
        response
    }
}

/// Passes messages both ways until both sides have closed.
async fn pass(client: WebSocket, go_on: GoOn, config: WebSocketConfig, outlook: Outlook) {
    let (near, far) = tokio::io::duplex(PIPE);
    let decoder = Decoder::new(Role::Client, config.limits());
    let shared = Arc::new(Shared::new(Role::Client, decoder, None, usize::MAX));
    let (from_node, to_node) = (SocketReceiver(shared.clone()), SocketSender(shared.clone()));
    let driver = Driver::new(shared, Upgraded::foreign(near, outlook.clone()), &config);
    let (to_client, from_client) = client.split();
    let up = pass_all(from_client, to_node, CloseCode::GOING_AWAY);
    // That the node has gone, or has said what it may not, is our failure to the client.
    let down = pass_all(from_node, to_client, CloseCode::INTERNAL_ERROR);
    tokio::join!(up, driver.run(down), go_on(Upgraded::foreign(far, outlook)));
}

/// Passes messages on until one side has closed; then the other is, with the same code. `lost` is what it is
/// closed with if there is none.
async fn pass_all(mut from: SocketReceiver, to: SocketSender, lost: CloseCode) {
    loop {
        match from.recv().await {
            Ok(Some(message)) => {
                if to.send(message).await.is_err() {
                    // It has closed, which is passed on the other way.
                    return drain(from).await;
                }
            }
            Ok(None) => return to.0.lock().close(from.client_close().as_ref()),
            Err(_) => return to.close(lost),
        }
    }
}

/// Takes what still comes, until that side has closed too.
async fn drain(mut from: SocketReceiver) {
    while let Ok(Some(_)) = from.recv().await {}
}
