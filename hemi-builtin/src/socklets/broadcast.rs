//! The socklet `broadcast`: WebSockets (RFC 6455) whose messages go to all others in the same room.
//!
//! ```gorox
//! stage {
//! 	webapp "chat" {
//! 		.hostnames = ("*")
//! 		rule $path ^= "/rooms/" {
//! 			broadcast { .room = $path  .slow = "skip"  .maxMessageSize = 4K }
//! 		}
//! 	}
//! 	httpxServer "main" { .address = "127.0.0.1:3080"  .webapps = ("chat") }
//! }
//! ```
//!
//! Requests for something else than a WebSocket are left to the handlets.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hemi_core::config::{ConfigType, Size, Template};
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{
    Broadcast, Member, Reply, Request, Slow, SocketError, Socklet, WebSocket, WebSocketConfig,
    WebVar,
};
use http::StatusCode;
use serde::Deserialize;

/// Sends what one client sends to all others in the same room.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct BroadcastConfig {
    /// The room that a client enters; all are in the same one unless it has variables, such as
    /// `$path`.
    pub room: Template<WebVar>,
    /// Rooms with somebody in them, at most: 503 for further ones.
    pub max_rooms: usize,
    /// Clients in one room, at most: 503 for further ones.
    pub max_members: usize,
    /// Bytes that may wait to be sent to a client.
    pub backlog: Size,
    /// What becomes of a client for whom more wait: `"close"` closes it with 1013, so that it comes back;
    /// with `"skip"` it misses messages.
    pub slow: SlowConfig,
    /// Whether a client's messages are sent to itself too.
    pub to_sender: bool,
}

impl Default for BroadcastConfig {
    fn default() -> Self {
        Self {
            room: Template::default(),
            max_rooms: 1000,
            max_members: 10_000,
            backlog: Size(256 << 10),
            slow: SlowConfig(Slow::Close),
            to_sender: false,
        }
    }
}

/// `"close"` or `"skip"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SlowConfig(Slow);

/// A text that is neither.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is neither \"close\" nor \"skip\"")]
pub struct BadSlow(String);

impl TryFrom<String> for SlowConfig {
    type Error = BadSlow;

    fn try_from(name: String) -> Result<Self, BadSlow> {
        match &*name {
            "close" => Ok(Self(Slow::Close)),
            "skip" => Ok(Self(Slow::Skip)),
            _ => Err(BadSlow(name)),
        }
    }
}

impl ConfigType for SlowConfig {
    fn kind() -> Cow<'static, str> {
        "\"close\" or \"skip\"".into()
    }

    fn show(&self) -> String {
        match self.0 {
            Slow::Close => "\"close\"".to_owned(),
            Slow::Skip => "\"skip\"".to_owned(),
        }
    }
}

/// Sends what one client sends to all others in the same room.
#[derive(Debug)]
pub struct BroadcastSocklet {
    rooms: Arc<Rooms>,
    socket_config: WebSocketConfig,
}

#[derive(Debug)]
struct Rooms {
    config: BroadcastConfig,
    open: Mutex<HashMap<Box<[u8]>, Broadcast>>,
}

impl Component for BroadcastSocklet {
    const SIGN: &'static str = "broadcast";
    type Config = (BroadcastConfig, WebSocketConfig);

    fn create((config, socket_config): Self::Config, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self { rooms: Arc::new(Rooms { config, open: Mutex::default() }), socket_config })
    }
}

impl Lifecycle for BroadcastSocklet {}

impl Socklet for BroadcastSocklet {
    async fn accept(&self, req: &mut Request) -> Reply {
        let upgrade = match super::upgrade(req, &self.socket_config) {
            Ok(upgrade) => upgrade,
            Err(reply) => return reply,
        };
        let name: Box<[u8]> = self.rooms.config.room.render(req).into();
        if !self.rooms.has_place(&name) {
            return Reply::Done(StatusCode::SERVICE_UNAVAILABLE.into());
        }
        let rooms = self.rooms.clone();
        upgrade.on_upgrade(async move |socket| rooms.attend(&name, socket).await).into()
    }
}

impl Rooms {
    /// Whether one more client can be in the room. That some more may enter at the same time is no harm.
    fn has_place(&self, name: &[u8]) -> bool {
        let open = self.open();
        match open.get(name) {
            Some(room) => room.len() < self.config.max_members,
            None => open.len() < self.config.max_rooms,
        }
    }

    async fn attend(&self, name: &[u8], mut socket: WebSocket) -> Result<(), SocketError> {
        let place = self.enter(name, &socket);
        while let Some(message) = socket.recv().await? {
            match self.config.to_sender {
                true => place.room.send(&message),
                false => place.room.send_from(&place.member, &message),
            }
        }
        Ok(())
    }

    fn enter<'a>(&'a self, name: &'a [u8], socket: &WebSocket) -> InRoom<'a> {
        let new = || Broadcast::with_backlog(self.config.backlog, self.config.slow.0);
        let mut open = self.open();
        let room = open.entry(name.into()).or_insert_with(new).clone();
        // While nobody else can find the room empty.
        let member = room.join(socket);
        InRoom { rooms: self, name, room, member }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Broadcast>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client in a room; who leaves last closes it.
struct InRoom<'a> {
    rooms: &'a Rooms,
    name: &'a [u8],
    room: Broadcast,
    member: Member,
}

impl Drop for InRoom<'_> {
    fn drop(&mut self) {
        let mut open = self.rooms.open();
        // This one has not left yet.
        if self.room.len() == 1 {
            open.remove(self.name);
        }
    }
}
