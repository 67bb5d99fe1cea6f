//! Frames as Go writes them, and as nobody should.

use bytes::BytesMut;

use super::*;

const LIMITS: Limits = Limits { message: 1 << 20, metadata: 1 << 10 };

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// What Go's rpcx sends: a call in MessagePack and its answer, the same in JSON, a failure, metadata with an
/// empty key and an empty value, a push, a heartbeat and its echo.
const CAPTURED: &[(&str, Mode, &str, &str, CodecId, u64)] = &[
    (
        "08000030 0000000000000000 0000001f 00000005 4172697468 00000003 4d756c 00000000 00000007 82a1410aa14214",
        Mode::Call,
        "Arith",
        "Mul",
        CodecId::MSGPACK,
        0,
    ),
    (
        "08008030 0000000000000000 0000001d 00000005 4172697468 00000003 4d756c 00000000 00000005 81a143ccc8",
        Mode::Answer,
        "Arith",
        "Mul",
        CodecId::MSGPACK,
        0,
    ),
    (
        "08000010 0000000000000000 00000027 00000005 4172697468 00000003 4d756c 00000000 0000000f 7b2241223a31302c2242223a32307d",
        Mode::Call,
        "Arith",
        "Mul",
        CodecId::JSON,
        0,
    ),
    (
        "08008130 0000000000000000 00000037 00000005 4172697468 00000004 4661696c 0000001a 0000000e 5f5f727063785f6572726f725f5f 00000004 626f6f6d 00000004 81a14300",
        Mode::Failure,
        "Arith",
        "Fail",
        CodecId::MSGPACK,
        0,
    ),
    (
        "08002020 0102030405060708 00000024 00000001 53 00000001 6d 00000012 00000000 00000001 76 00000001 6b 00000000 00000000",
        Mode::OneWay,
        "S",
        "m",
        CodecId::PROTOBUF,
        0x0102_0304_0506_0708,
    ),
    (
        "08002000 0000000000000001 00000036 00000011 746573745f736572766963655f70617468 00000013 746573745f736572766963655f6d6574686f64 00000000 00000002 6869",
        Mode::OneWay,
        "test_service_path",
        "test_service_method",
        CodecId::RAW,
        1,
    ),
    (
        "08004030 0000000000000001 00000019 00000000 00000000 00000000 00000009 d318e9e2613a65190b",
        Mode::Heartbeat,
        "",
        "",
        CodecId::MSGPACK,
        1,
    ),
    (
        "0800c030 0000000000000001 00000019 00000000 00000000 00000000 00000009 d318e9e2613a65190b",
        Mode::Echo,
        "",
        "",
        CodecId::MSGPACK,
        1,
    ),
];

#[test]
fn what_go_sends_is_read_and_written_the_same() {
    for (hex, mode, service, method, codec, seq) in CAPTURED {
        let wire = bytes(hex);
        for cut in 0..wire.len() {
            let Ok(Decoded::Needs(needs)) = decode(&wire[..cut], LIMITS) else {
                panic!("{cut} bytes of {hex}");
            };
            assert!(needs > cut && needs <= wire.len());
        }
        let Ok(Decoded::Frame(frame, length)) = decode(&wire, LIMITS) else { panic!("{hex}") };
        assert_eq!(length, wire.len());
        assert_eq!((frame.head.mode, frame.head.codec, frame.head.seq), (*mode, *codec, *seq));
        assert_eq!((frame.service, frame.method), (service.as_bytes(), method.as_bytes()));
        let mut out = BytesMut::new();
        encode(&mut out, &frame);
        assert_eq!(out, wire);
    }
}

#[test]
fn metadata_is_found() {
    let failure = bytes(CAPTURED[3].0);
    let Ok(Decoded::Frame(frame, _)) = decode(&failure, LIMITS) else { panic!() };
    assert_eq!(frame.metadata.text(ERROR_KEY), Some("boom"));
    let edge = bytes(CAPTURED[4].0);
    let Ok(Decoded::Frame(frame, _)) = decode(&edge, LIMITS) else { panic!() };
    assert_eq!((frame.metadata.text(""), frame.metadata.text("k")), (Some("v"), Some("")));
    assert_eq!(frame.metadata.find("x"), None);
    let mut own = Metadata::new();
    own.set("a", "1");
    own.set("b", "2");
    own.set("a", "3");
    assert_eq!((own.text("a"), own.text("b")), (Some("3"), Some("2")));
    assert_eq!(own.pairs().iter().count(), 2);
}

#[test]
fn a_heartbeat_comes_back_as_it_is() {
    let heartbeat = bytes(CAPTURED[6].0);
    let Ok(Decoded::Frame(frame, _)) = decode(&heartbeat, LIMITS) else { panic!() };
    let mut out = BytesMut::new();
    echo(&mut out, &frame);
    assert_eq!(out, bytes(CAPTURED[7].0));
}

#[test]
fn lengths_are_checked() {
    let good = bytes(CAPTURED[0].0);
    let changed = |at: usize, value: u32| {
        let mut wire = good.clone();
        wire[at..at + 4].copy_from_slice(&value.to_be_bytes());
        decode(&wire, LIMITS).map(|_| ()).err()
    };
    let head = Head::read(good.first_chunk().unwrap()).unwrap();
    let too_long = FrameError::TooLong { head, length: (1 << 20) + 1, most: 1 << 20 };
    assert_eq!(changed(12, (1 << 20) + 1), Some(too_long));
    // Of the service, the method, the metadata; that of the payload says nothing.
    for at in [16, 25, 32] {
        assert_eq!(changed(at, 0x1000), Some(FrameError::Length));
        assert_eq!(changed(at, u32::MAX), Some(FrameError::Length));
    }
    assert_eq!(changed(36, 0x1000), None);
    assert_eq!(changed(12, 15), Some(FrameError::Length));
    let mut other = good.clone();
    other[0] = b'G';
    assert_eq!(decode(&other[..1], LIMITS).unwrap_err(), FrameError::Magic);
    let mut edge = bytes(CAPTURED[4].0);
    edge[34] = 9;
    assert_eq!(decode(&edge, LIMITS).unwrap_err(), FrameError::Metadata);
    let limits = Limits { metadata: 17, ..LIMITS };
    let edge = bytes(CAPTURED[4].0);
    assert!(matches!(
        decode(&edge, limits),
        Err(FrameError::MetadataTooLong { length: 18, most: 17, .. })
    ));
}

#[test]
fn large_payloads_are_compressed() {
    let gzipped =
        bytes("1f8b08000000000000ffaa1805a360148c5c00000000ffff010000ffff91f12f5801040000");
    assert_eq!(gunzip(&gzipped, 1025).unwrap(), vec![b'x'; 1025]);
    assert_eq!(gunzip(&gzipped, 1024), Err(GunzipError::TooLong(1024)));
    assert_eq!(gunzip(&gzipped[..30], 2000), Err(GunzipError::Cut));
    assert_eq!(gunzip(b"no gzip at all", 2000), Err(GunzipError::Malformed));
    let mut seed = 1_u32;
    let mut noise = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    for len in [0, 1024, 1025, 100_000, 1_000_000] {
        for payload in [vec![7; len], (0..len).map(|_| noise()).collect()] {
            let mut out = BytesMut::new();
            let head = Head::read(bytes(CAPTURED[0].0).first_chunk().unwrap()).unwrap();
            let open = Open::begin(&mut out, &head, b"S", b"m", Pairs::NONE);
            out.extend_from_slice(&payload);
            open.end(&mut out, Compression::GZIP);
            let Ok(Decoded::Frame(frame, _)) =
                decode(&out, Limits { message: 2 << 20, metadata: 0 })
            else {
                panic!()
            };
            if len > COMPRESSED_FROM {
                assert_eq!(frame.head.compression, Compression::GZIP);
                assert_eq!(gunzip(frame.payload, len).unwrap(), payload);
            } else {
                assert_eq!(frame.head.compression, Compression::NONE);
                assert_eq!(frame.payload, payload);
            }
        }
    }
}

#[test]
fn the_way_in_by_http_is_found() {
    for (request, length) in [
        (&b"CONNECT /_rpcx_ HTTP/1.0\n\n"[..], Some(26)),
        (b"CONNECT /_rpcx_ HTTP/1.1\r\nHost: a\r\n\r\n\x08", Some(37)),
        (b"CONN", Some(0)),
        (b"CONNECT /_rpcx_ HTTP/1.0\n", Some(0)),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", None),
        (&[&CONNECT[..25], &[b'x'; 2000]].concat(), None),
    ] {
        assert_eq!(read_connect(request), length, "{:?}", request.escape_ascii().to_string());
    }
    for cut in 0..CONNECTED.len() {
        assert_eq!(read_connected(&CONNECTED[..cut]), Some(0));
    }
    assert_eq!(read_connected(CONNECTED), Some(CONNECTED.len()));
    assert_eq!(read_connected(b"HTTP/1.0 403"), None);
}
