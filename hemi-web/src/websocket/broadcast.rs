//! One message to many.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use hemi_core::config::Size;
use hemi_proto::websocket::{Close, CloseCode, Header, Message};

use super::state::Shared;
use super::{SocketError, WebSocket};

/// Sends messages to many WebSockets at once: a message is made into bytes once, and put where each
/// connection sends from. Nobody waits for anybody.
///
/// ```
/// use hemi_web::testing::{Server, TestSocket};
/// use hemi_web::{Broadcast, Mapper, Response, Slow, SocketError, State, WebSocketUpgrade};
///
/// async fn chat(upgrade: WebSocketUpgrade, room: State<Broadcast>) -> Response {
///     upgrade.on_upgrade(async move |mut socket| {
///         let _member = room.join(&socket);
///         while let Some(message) = socket.recv().await? {
///             room.send(&message);
///         }
///         Ok::<_, SocketError>(())
///     })
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let room = Broadcast::new(256 << 10, Slow::Close);
/// let server = Server::of(Mapper::with_state(room).get("/chat", chat))?;
/// let mut ann = TestSocket::connect(server.address(), "/chat").await?;
/// let mut ben = TestSocket::connect(server.address(), "/chat").await?;
/// # ben.send("here").await?;
/// # assert!(ben.recv().await?.is_some() && ann.recv().await?.is_some());
/// ann.send("Hello").await?;
/// assert_eq!(ben.recv().await?.unwrap().as_text(), Some("Hello"));
/// assert_eq!(ann.recv().await?.unwrap().as_text(), Some("Hello"));
/// # Ok(())
/// # }
/// ```
///
/// It may be used from all cores, and by whoever has something to say.
#[derive(Clone, Debug)]
pub struct Broadcast(Arc<Hub>);

/// What becomes of a member that does not take messages as fast as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// It misses those for which there is no room, and takes part on: for news that are soon old.
    Skip,
    /// It is closed with 1013, to come back and ask what it has missed.
    Close,
}

#[derive(Debug)]
struct Hub {
    /// Bytes that may wait to be sent to a member.
    backlog: usize,
    slow: Slow,
    members: Mutex<Members>,
}

#[derive(Debug, Default)]
struct Members {
    all: HashMap<u64, Arc<Shared>>,
    next: u64,
}

/// A WebSocket's place in a [`Broadcast`], which it leaves when this is dropped.
#[derive(Debug)]
#[must_use = "it leaves when this is dropped"]
pub struct Member {
    hub: Arc<Hub>,
    id: u64,
}

impl Broadcast {
    /// One without members, for each of which up to `backlog` bytes may wait to be sent.
    #[must_use]
    pub fn new(backlog: usize, slow: Slow) -> Self {
        Self(Arc::new(Hub { backlog, slow, members: Mutex::default() }))
    }

    /// The same, as a config says it.
    #[must_use]
    pub fn with_backlog(backlog: Size, slow: Slow) -> Self {
        Self::new(usize::try_from(backlog.0).unwrap_or(usize::MAX), slow)
    }

    /// Sends a WebSocket what is sent from now on.
    pub fn join(&self, socket: &WebSocket) -> Member {
        let mut members = self.0.members();
        let id = members.next;
        members.next += 1;
        members.all.insert(id, socket.sender.0.clone());
        Member { hub: self.0.clone(), id }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.members().all.len()
    }

    /// Whether there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sends a message to all.
    pub fn send(&self, message: &Message) {
        self.send_but(None, message);
    }

    /// Sends a message to all others.
    pub fn send_from(&self, member: &Member, message: &Message) {
        self.send_but(Some(member.id), message);
    }

    fn send_but(&self, but: Option<u64>, message: &Message) {
        let frame = frame(message);
        let members = self.0.members();
        for (id, member) in &members.all {
            if Some(*id) != but {
                self.0.give(member, &frame);
            }
        }
    }
}

impl Hub {
    fn members(&self) -> MutexGuard<'_, Members> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give(&self, member: &Shared, frame: &Bytes) {
        let mut state = member.lock();
        // Who is closed or lost is about to leave.
        if let Ok(false) = state.put_frame(frame, self.backlog)
            && self.slow == Slow::Close
        {
            state.close(Some(&Close::new(CloseCode::TRY_LATER, "too slow")));
            state.end_with(SocketError::Slow);
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.hub.members().all.remove(&self.id);
    }
}

/// A message as it is sent to everybody. It is not compressed, which would be another time for each.
fn frame(message: &Message) -> Bytes {
    let payload = message.as_bytes();
    let mut frame = BytesMut::with_capacity(payload.len() + 10);
    Header::whole(message.opcode()).put_frame(payload, &mut frame);
    frame.freeze()
}
