use std::time::Duration;

use bytes::Bytes;

use super::*;

#[test]
fn frames_are_found_in_any_pieces() {
    let wire = b"\0\0\0\0\x02hi\x01\0\0\0\0\0\0\0\0\x01!";
    for size in 1..=wire.len() {
        let (mut frames, mut scan, mut found) = (Frames::new(2), Scan::new(2), Vec::new());
        let mut flags = Ok(());
        for piece in wire.chunks(size) {
            flags = flags.and_then(|()| scan.look(piece));
            frames.push(Bytes::copy_from_slice(piece));
            while let Some(frame) = frames.take().unwrap() {
                found.push((frame.flags, frame.message.to_vec()));
            }
        }
        assert_eq!(found, [(0, b"hi".to_vec()), (1, Vec::new()), (0, b"!".to_vec())], "{size}");
        assert!(!frames.is_midway());
        assert_eq!(flags, Err(FrameError::Flags(1)));
    }
}

#[test]
fn what_is_too_long_is_known_by_its_head() {
    let too_long = FrameError::TooLong { length: 3, most: 2 };
    let mut frames = Frames::new(2);
    frames.push(Bytes::from_static(b"\0\0\0\0\x03"));
    assert_eq!(frames.take(), Err(too_long));
    let mut scan = Scan::new(2);
    assert_eq!(scan.look(b"\0\0\0\0"), Ok(()));
    assert!(scan.is_midway());
    assert_eq!(scan.look(b"\x03"), Err(too_long));
}

#[test]
fn timeouts_have_units() {
    for (text, timeout) in [
        ("1H", Some(Duration::from_secs(3600))),
        ("2M", Some(Duration::from_secs(120))),
        ("3S", Some(Duration::from_secs(3))),
        ("4m", Some(Duration::from_millis(4))),
        ("5u", Some(Duration::from_micros(5))),
        ("99999999n", Some(Duration::from_nanos(99_999_999))),
        ("100000000n", None),
        ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
        ("S", None),
        ("", None),
        ("1", None),
        ("-1S", None),
        ("1s", None),
    ] {
        assert_eq!(parse_timeout(text.as_bytes()), timeout, "{text}");
    }
    for (timeout, text) in [
        (Duration::ZERO, "0n"),
        (Duration::from_millis(1500), "1500000u"),
        (Duration::from_secs(200), "200000m"),
        (Duration::MAX, "99999999H"),
    ] {
        assert_eq!(show_timeout(timeout), text);
    }
}

#[test]
fn messages_are_percent_encoded() {
    let text = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n 100%";
    let encoded = encode_message(text);
    assert!(encoded.starts_with("%09%0Atest with whitespace%0D%0A") && encoded.ends_with("100%25"));
    assert_eq!(decode_message(encoded.as_bytes()), text);
    assert_eq!(decode_message(b"%4g%"), "%4g%");
}
