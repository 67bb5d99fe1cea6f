//! WebSockets, by a client that can also do what it must not.
//!
//! What the Autobahn test suite looks at in a server, and where it is looked at here:
//!
//! | Autobahn | behaviour | test |
//! |---|---|---|
//! | 1.1, 1.2 | text and binary of 0 to 65,536 bytes, whole and in pieces | `conforms::messages_of_all_lengths_come_back` |
//! | 2 | pings are answered with their payload, also between fragments; 126 bytes are refused; pongs that nobody asked for are ignored | `conforms::pings_are_answered`, `conforms::frames_that_can_not_be_are_refused` |
//! | 3 | reserved bits | `conforms::frames_that_can_not_be_are_refused` |
//! | 4 | reserved opcodes, of data and of control | `conforms::frames_that_can_not_be_are_refused` |
//! | 5 | fragments, with control frames between them; what continues nothing; a message within another; fragmented control frames | `conforms::fragments_become_a_message`, `conforms::frames_that_can_not_be_are_refused` |
//! | 6 | UTF-8: whole, split within characters, refused as soon as it is wrong | `conforms::text_is_utf_8_however_it_is_cut`, `conforms::what_is_no_utf_8_is_refused_at_once` |
//! | 7.1, 7.3 | a close is answered; what comes after it is ignored; half a code is refused | `closes::a_close_is_answered_in_kind`, `closes::nothing_comes_after_a_close`, `closes::bad_closes_are_refused` |
//! | 7.5, 7.7, 7.9, 7.13 | reasons that are no UTF-8; codes that are valid, and that are not | `closes::a_close_is_answered_in_kind`, `closes::bad_closes_are_refused` |
//! | 9 | messages up to 16 MiB, in one frame, in fragments, in small pieces | `conforms::large_messages_come_back` |
//! | 10 | a message in fragments that are cut by the client | `conforms::fragments_become_a_message` |
//! | 12, 13 | compression with all parameters, messages of all kinds and lengths, fragmented | `compression::messages_come_back_whatever_is_agreed_on` |

mod closes;
mod compression;
mod conforms;
mod ends;
mod handshake;

use hemi_core::config::Size;
use hemi_web::testing::{Server, TestSocket};
use hemi_web::{Mapper, Response, SocketError, State, WebSocketConfig, WebSocketUpgrade};

/// Sends back what comes.
async fn echo(upgrade: WebSocketUpgrade, config: State<WebSocketConfig>) -> Response {
    upgrade.config((*config.0).clone()).on_upgrade(async |mut socket| {
        while let Some(message) = socket.recv().await? {
            socket.send(message).await?;
        }
        Ok::<_, SocketError>(())
    })
}

fn server_with(config: WebSocketConfig) -> Server {
    Server::of(Mapper::with_state(config).get("/", echo)).unwrap()
}

fn server() -> Server {
    server_with(WebSocketConfig {
        max_message_size: Size(17 << 20),
        max_frame_size: Size(17 << 20),
        max_fragments: 1 << 20,
        ..WebSocketConfig::default()
    })
}

async fn connect() -> (Server, TestSocket) {
    let server = server();
    let client = TestSocket::connect(server.address(), "/").await.unwrap();
    (server, client)
}
