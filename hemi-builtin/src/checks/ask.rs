//! What a node answers to the first words of a protocol.

use hemi_core::backend::Endpoint;
use hemi_core::io::Socket;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Bytes of an answer that are looked at.
const LOOKED_AT: usize = 256;

/// What a node answers to this, with `least` bytes.
pub(super) async fn ask(node: &Endpoint, words: &[u8], least: usize) -> Result<Box<[u8]>, String> {
    let mut socket =
        Socket::connect(node.target()).await.map_err(|e| format!("cannot connect: {e}"))?;
    socket.write_all(words).await.map_err(|e| format!("cannot be asked: {e}"))?;
    let (mut answer, mut got) = (vec![0; LOOKED_AT], 0);
    while got < least {
        match socket.read(&mut answer[got..]).await {
            Ok(0) => return Err("it has closed the connection".to_owned()),
            Ok(more) => got += more,
            Err(e) => return Err(format!("no answer: {e}")),
        }
    }
    answer.truncate(got);
    Ok(answer.into())
}
