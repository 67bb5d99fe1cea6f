//! Packets of MySQL are read without trust, and what is made of a login is read as the same one.
#![no_main]

use hemi_fuzz::{feed, split_piece_size};
use hemi_proto::mysql::{Failure, Greeting, Packet, Reply};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(greeting) = Greeting::read(input) {
        let _ = Greeting::read(&greeting.encode());
    }
    let _ = Failure::read(input);
    if let Ok(Reply::Login(login)) = Reply::read(input) {
        let again = login.encode(0, b"proof", "plugin");
        if let Ok(Reply::Login(read)) = Reply::read(&again) {
            assert_eq!((read.user, read.database), (login.user, login.database));
        }
    }
    let Some((size, bytes)) = split_piece_size(input) else { return };
    let whole = Packet::take(&mut bytes::BytesMut::from(bytes));
    let (in_pieces, _) = feed(bytes, size, Packet::take);
    assert_eq!(whole, in_pieces);
});
