//! Packets that are put together, as the documents have them.

use std::time::Duration;

use super::*;

/// A segment of TCP, behind a head of 20 bytes and one word of options.
fn tcp(seq: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = [0x1f, 0x90, 0x04, 0xd2].to_vec();
    out.extend(seq.to_be_bytes());
    out.extend([0, 0, 0, 0, 0x60, flags, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0]);
    out.extend(payload);
    out
}

fn ipv4(carried: &[u8]) -> Vec<u8> {
    let mut out = [0x46, 0].to_vec();
    out.extend((24 + carried.len() as u16).to_be_bytes());
    out.extend([0, 0, 0x40, 0, 64, 6, 0, 0, 127, 0, 0, 1, 10, 0, 0, 2, 0, 0, 0, 0]);
    out.extend(carried);
    out
}

fn ipv6(carried: &[u8]) -> Vec<u8> {
    let mut out = [0x60, 0, 0, 0].to_vec();
    // Eight bytes of options for hops stand before.
    out.extend((8 + carried.len() as u16).to_be_bytes());
    out.extend([0, 64]);
    for last in [1, 2] {
        out.extend([0; 15]);
        out.push(last);
    }
    out.extend([6, 0, 1, 4, 0, 0, 0, 0]);
    out.extend(carried);
    out
}

/// Behind what a link begins with.
fn on(link: Link, ip: &[u8]) -> Vec<u8> {
    let kind = if ip[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
    let mut out = match link {
        Link::Raw => Vec::new(),
        Link::Loopback => vec![2, 0, 0, 0],
        Link::Ethernet => [&[1; 12][..], &[0x81, 0, 0, 5], &kind].concat(),
        Link::Cooked => [&[0; 14][..], &kind].concat(),
        Link::Cooked2 => [&kind[..], &[0; 18]].concat(),
    };
    out.extend(ip);
    out
}

const LINKS: [Link; 5] = [Link::Ethernet, Link::Loopback, Link::Raw, Link::Cooked, Link::Cooked2];

#[test]
fn segments_are_found_behind_all_links() {
    for link in LINKS {
        for (ip, from, to) in [
            (ipv4(&tcp(7, 0x18, b"hello")), "127.0.0.1:8080", "10.0.0.2:1234"),
            (ipv6(&tcp(7, 0x18, b"hello")), "[::1]:8080", "[::2]:1234"),
        ] {
            // Short frames are filled up.
            let mut packet = on(link, &ip);
            packet.extend([0; 9]);
            let found = segment(link, &packet).unwrap();
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            let (seq, payload) = (7, &b"hello"[..]);
            let whole = Segment { from, to, seq, syn: false, end: false, payload, missing: 0 };
            assert_eq!(found, whole, "{link:?}");
            // What is cut is none, or less.
            let whole = on(link, &ip);
            for cut in 0..whole.len() {
                if let Some(found) = segment(link, &whole[..cut]) {
                    assert_eq!(found.payload.len() + found.missing, 5);
                }
            }
        }
    }
    let packet = ipv4(&tcp(7, 2, b""));
    let syn = segment(Link::Raw, &packet).unwrap();
    assert!(syn.syn && !syn.end);
    for flags in [1, 4, 0x11] {
        assert!(segment(Link::Raw, &ipv4(&tcp(7, flags, b""))).unwrap().end);
    }
    // UDP, a fragment, a head of TCP that is too short, a version that is none.
    let good = ipv4(&tcp(7, 0, b"x"));
    for (at, byte) in [(9, 17), (6, 0x20), (7, 1), (24 + 12, 0x40), (24 + 12, 0xf0), (0, 0x56)] {
        let mut bad = good.clone();
        bad[at] = byte;
        assert_eq!(segment(Link::Raw, &bad), None, "{at}");
    }
}

#[test]
fn files_are_read_in_both_orders_of_bytes() {
    for (magic, little, unit) in [
        ([0xa1, 0xb2, 0xc3, 0xd4], false, 1000),
        ([0xd4, 0xc3, 0xb2, 0xa1], true, 1000),
        ([0xa1, 0xb2, 0x3c, 0x4d], false, 1),
        ([0x4d, 0x3c, 0xb2, 0xa1], true, 1),
    ] {
        let word = |n: u32| if little { n.to_le_bytes() } else { n.to_be_bytes() };
        let mut bytes = magic.to_vec();
        bytes.extend([word(0x0002_0004), word(0), word(0), word(65535), word(101)].concat());
        let mut packet = [word(100), word(5), word(3), word(9)].concat();
        packet.extend(b"abc");
        for cut in 0..24 {
            assert_eq!(File::begin(&bytes[..cut]), Ok(Decoded::Needs(24)));
        }
        let Ok(Decoded::Whole(file, 24)) = File::begin(&bytes) else { panic!("{magic:?}") };
        assert_eq!(file.link, Link::Raw);
        for cut in 0..packet.len() {
            let needs = if cut < 16 { 16 } else { 19 };
            assert_eq!(file.packet(&packet[..cut]), Ok(Decoded::Needs(needs)));
        }
        let time = Duration::from_secs(100) + Duration::from_nanos(5 * unit);
        let whole = Decoded::Whole(Packet { time, bytes: b"abc" }, 19);
        assert_eq!(file.packet(&packet), Ok(whole));
        packet[8..12].copy_from_slice(&word(1 << 20));
        assert_eq!(file.packet(&packet), Err(PcapError::TooLong(1 << 20)));
        bytes[20..].copy_from_slice(&word(105));
        assert_eq!(File::begin(&bytes), Err(PcapError::Link(105)));
    }
    assert_eq!(File::begin(b"\x0a\x0d\x0d\x0a"), Err(PcapError::Pcapng));
    assert_eq!(File::begin(b"GET "), Err(PcapError::Magic));
}

/// What comes of segments: their bytes, and `?` for each that is lost.
fn ordered(segments: &[(u32, bool, &[u8], usize)]) -> String {
    let (mut order, mut out) = (Order::default(), String::new());
    let mut take = |piece: Piece<'_>| match piece {
        Piece::Bytes(bytes) => out += std::str::from_utf8(bytes).unwrap(),
        Piece::Lost(count) => out += &"?".repeat(count),
    };
    for (seq, syn, payload, missing) in segments {
        order.push(*seq, *syn, (payload, *missing), &mut take);
    }
    order.finish(&mut take);
    out
}

#[test]
fn bytes_come_in_their_order() {
    let last = u32::MAX;
    for (segments, expected) in [
        (&[(9, true, &b""[..], 0), (10, false, b"abc", 0), (13, false, b"def", 0)][..], "abcdef"),
        (&[(10, false, b"abc", 0), (13, false, b"def", 0)], "abcdef"),
        // In another order, around the end of numbers, and repeated.
        (&[(last, true, b"", 0), (3, false, b"def", 0), (0, false, b"abc", 0)], "abcdef"),
        (&[(last - 1, false, b"abc", 0), (4, false, b"g", 0), (1, false, b"def", 0)], "abcdefg"),
        (&[(1, false, b"abc", 0), (1, false, b"abc", 0), (2, false, b"bcde", 0)], "abcde"),
        (&[(1, false, b"ab", 0), (4, false, b"de", 0), (2, false, b"bcde", 0)], "abcde"),
        // Lost, or not captured.
        (&[(1, false, b"ab", 0), (6, false, b"fg", 0), (9, false, b"i", 0)], "ab???fg?i"),
        (&[(1, false, b"ab", 3), (6, false, b"fg", 0)], "ab???fg"),
        (&[(1, false, b"ab", 0), (3, false, b"", 0), (3, false, b"c", 0)], "abc"),
        // Another connection by the same ports.
        (&[(1, false, b"ab", 0), (99, true, b"", 0), (100, false, b"cd", 0)], "abcd"),
    ] {
        assert_eq!(ordered(segments), expected, "{segments:?}");
    }
}

#[test]
fn what_comes_too_early_has_a_bound() {
    let (mut order, mut lost, mut came) = (Order::default(), 0, 0);
    order.push(0, false, (b"x", 0), |_| {});
    for at in 0..10_000_u32 {
        // Every other one is missing.
        order.push(2 + at * 2000, false, (&[1; 1000], 0), |piece| match piece {
            Piece::Bytes(bytes) => came += bytes.len(),
            Piece::Lost(count) => lost += count,
        });
    }
    assert!(came > 9_000_000 && lost > 9_000_000, "{came} {lost}");
}
