//! What clients of SOCKS say is taken for the same however it is cut, and datagrams come back as they were put.
#![no_main]

use bytes::BytesMut;
use hemi_fuzz::{feed, split_piece_size};
use hemi_proto::socks::{
    Hello, Host, Login, Request, SocksError, put_datagram_head, read_datagram,
};
use libfuzzer_sys::fuzz_target;
use std::net::SocketAddr;

fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = split_piece_size(input) else { return };
    same(bytes, size, Hello::read);
    same(bytes, size, Login::read);
    same(bytes, size, Request::read);
    if let Some((Host::Ip(ip), port, data)) = read_datagram(bytes) {
        let mut again = BytesMut::new();
        put_datagram_head(&mut again, SocketAddr::new(ip, port));
        again.extend_from_slice(data);
        assert_eq!(read_datagram(&again), Some((Host::Ip(ip), port, data)));
    }
});

fn same<T: PartialEq + std::fmt::Debug>(
    bytes: &[u8],
    size: usize,
    read: impl Fn(&mut BytesMut) -> Result<Option<T>, SocksError>,
) {
    let mut whole = BytesMut::from(bytes);
    let at_once = read(&mut whole);
    let (in_pieces, rest) = feed(bytes, size, |buf| read(buf));
    if !matches!((&at_once, &in_pieces), (Err(_), Err(_))) {
        assert_eq!(at_once, in_pieces);
        assert_eq!(whole, rest);
    }
}
