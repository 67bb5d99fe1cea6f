//! What the rows about RPC call, as other programs have it too.

#![forbid(unsafe_code)]
#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "most of it is generated")]

tonic::include_proto!("bench");

/// What is answered: the same, changed a little.
#[must_use]
pub fn answer(mut message: Message) -> Message {
    "OK".clone_into(&mut message.field1);
    message.field2 = 100;
    message
}
