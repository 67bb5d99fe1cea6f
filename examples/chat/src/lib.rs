//! A chat: WebSockets whose messages are typed, and that all hear of each other.

#![forbid(unsafe_code)]

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hemi_core::config::Size;
use hemi_core::{Component, CreateCx, Explain, Lifecycle, Result};
use hemi_web::{
    Broadcast, Compression, Handlet, Html, JsonSocket, Mapper, Reply, Request, Response, Slow,
    SocketError, State, WebSocketConfig, WebSocketUpgrade,
};
use serde::{Deserialize, Serialize};

/// A chat room, with its page.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase", default)]
pub struct ChatConfig {
    /// Words that newcomers are shown, at most.
    pub history: usize,
}

impl Default for ChatConfig {
    fn default() -> Self {
        Self { history: 50 }
    }
}

/// What a client sends: first its name, then words.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Says {
    Enter { name: String },
    Words { text: String },
}

/// What a client is told.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
enum Told {
    /// Somebody has come, or left: so many are here now.
    Here {
        name: String,
        count: usize,
        entered: bool,
    },
    Words {
        name: String,
        text: String,
    },
}

/// The room.
struct Room {
    config: ChatConfig,
    all: Broadcast,
    history: Mutex<VecDeque<Told>>,
}

type Socket = JsonSocket<Says, Told>;

async fn page() -> Html<&'static str> {
    Html(include_str!("page.html"))
}

async fn connect(upgrade: WebSocketUpgrade, room: State<Room>) -> Response {
    let config = WebSocketConfig {
        max_message_size: Size(4 << 10),
        compression: Compression::Stateless,
        ..WebSocketConfig::default()
    };
    upgrade.config(config).on_upgrade(async move |socket| room.attend(socket.json()).await)
}

impl Room {
    async fn attend(&self, mut socket: Socket) -> Result<(), SocketError> {
        let Some(Says::Enter { name }) = socket.recv().await? else { return Ok(()) };
        let name: String = name.trim().chars().filter(|c| !c.is_control()).take(30).collect();
        if name.is_empty() {
            return Ok(());
        }
        // Nothing is said in between.
        let (member, earlier) = {
            let history = self.history();
            (self.all.join(socket.socket()), history.clone())
        };
        for told in &earlier {
            socket.send(told).await?;
        }
        self.tell(Told::Here { name: name.clone(), count: self.all.len(), entered: true });
        let ended = self.listen(&name, &mut socket).await;
        drop(member);
        self.tell(Told::Here { name, count: self.all.len(), entered: false });
        ended
    }

    async fn listen(&self, name: &str, socket: &mut Socket) -> Result<(), SocketError> {
        while let Some(says) = socket.recv().await? {
            if let Says::Words { text } = says
                && !text.trim().is_empty()
            {
                let words = Told::Words { name: name.to_owned(), text };
                let mut history = self.history();
                history.push_back(words.clone());
                while history.len() > self.config.history {
                    history.pop_front();
                }
                // Who comes next is told by the history, who is here by this.
                self.tell(words);
            }
        }
        Ok(())
    }

    fn tell(&self, told: Told) {
        if let Ok(text) = serde_json::to_string(&told) {
            self.all.send(&text.into());
        }
    }

    fn history(&self) -> MutexGuard<'_, VecDeque<Told>> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The component: it makes the routes, and leaves the rest to them.
pub struct Chat(Mapper<Room>);

impl Chat {
    /// A room of its own.
    #[must_use]
    pub fn new(config: ChatConfig) -> Self {
        let all = Broadcast::new(256 << 10, Slow::Close);
        let room = Room { config, all, history: Mutex::default() };
        Self(Mapper::with_state(room).get("/", page).get("/socket", connect))
    }
}

impl Component for Chat {
    const SIGN: &'static str = "chat";
    type Config = ChatConfig;

    fn create(config: ChatConfig, _: &mut CreateCx<'_>) -> Result<Self> {
        Ok(Self::new(config))
    }
}

impl Lifecycle for Chat {}

impl Handlet for Chat {
    async fn handle(&self, req: &mut Request) -> Reply {
        self.0.handle(req).await
    }
}
