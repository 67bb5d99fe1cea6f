//! What no client may send, and with which code it is answered.

use hemi_core::quic::quinn;

use super::client::{Client, Raw, Setting, block_on};

/// A GET of `/now` from `one.test`, by the static table.
const GET: &[u8] = b"\x01\x14\0\0\xd1\xd7\x50\x08one.test\x51\x04/now";

/// The same of `/read`, whose content is read.
const READ: &[u8] = b"\x01\x15\0\0\xd1\xd7\x50\x08one.test\x51\x05/read";

const CONTROL: &[u8] = &[0x00, 0x04, 0x00];

#[test]
fn of_connections() {
    let setting = Setting::new();
    let site = setting.site("");
    block_on(async {
        for (streams, code) in [
            // The control stream does not start with settings, or has two.
            (&[&[0x00, 0x07, 1, 0][..]][..], 0x10a),
            (&[&[0x00, 0x04, 0, 0x04, 0]], 0x105),
            // There are two control streams, two of the encoder, or a push.
            (&[CONTROL, CONTROL], 0x103),
            (&[CONTROL, &[0x02], &[0x02]], 0x103),
            (&[CONTROL, &[0x01]], 0x103),
            // Settings of HTTP/2, or one twice.
            (&[&[0x00, 0x04, 2, 0x02, 0]], 0x109),
            (&[&[0x00, 0x04, 4, 0x06, 1, 0x06, 1]], 0x109),
            // Frames that are not of the control stream, and one that is cut short.
            (&[&[0x00, 0x04, 0, 0x00, 0]], 0x105),
            (&[&[0x00, 0x04, 0, 0x0d, 2, 1, 1]], 0x106),
            (&[&[0x00, 0x04, 0, 0x0d, 1, 5, 0x0d, 1, 4]], 0x108),
            // What encoder and decoder may not say.
            (&[CONTROL, &[0x02, 0x3f, 0xff, 0x7f]], 0x201),
            (&[CONTROL, &[0x02, 0x00]], 0x201),
            (&[CONTROL, &[0x03, 0x00]], 0x202),
            (&[CONTROL, &[0x03, 0x84]], 0x202),
        ] {
            let client = Raw::connect(&setting, site.addr()).await;
            let mut said = Vec::new();
            for bytes in streams {
                said.push(client.say(bytes).await);
            }
            assert_eq!(client.closed().await, code, "{streams:x?}");
        }
        // The control stream ends.
        for end in [true, false] {
            let client = Raw::connect(&setting, site.addr()).await;
            let mut control = client.say(CONTROL).await;
            client.ask(GET).await.unwrap();
            match end {
                true => control.finish().unwrap(),
                false => control.reset(0u32.into()).unwrap(),
            }
            assert_eq!(client.closed().await, 0x104);
        }
    });
}

#[test]
fn of_requests() {
    let setting = Setting::new();
    let site = setting.site("");
    block_on(async {
        for (bytes, code) in [
            // Content before the head, settings, a push, a frame of HTTP/2.
            (&[0x00, 1, 1][..], 0x105),
            (&[0x04, 0], 0x105),
            (&[READ, &[0x05, 1, 0]].concat(), 0x105),
            (&[READ, &[0x06, 0]].concat(), 0x105),
            // A frame that is cut short.
            (&[READ, &[0x00, 9, 1]].concat(), 0x106),
            // Lines that point to nothing.
            (&[0x01, 3, 0, 0, 0x80], 0x200),
            (&[0x01, 4, 0, 0, 0xff, 0x7f], 0x200),
        ] {
            let client = Raw::connect(&setting, site.addr()).await;
            let _control = client.say(CONTROL).await;
            let _ = client.ask(bytes).await;
            assert_eq!(client.closed().await, code, "{bytes:x?}");
        }
    });
}

#[test]
fn of_one_request_only() {
    let setting = Setting::new();
    let site = setting.site("");
    block_on(async {
        let client = Raw::connect(&setting, site.addr()).await;
        let _control = client.say(CONTROL).await;
        for (bytes, code) in [
            // Nothing at all, no path, a name in capitals, a field about the connection.
            (&b""[..], 0x10d),
            (b"\x01\x0e\0\0\xd1\xd7\x50\x08one.test", 0x10e),
            (b"\x01\x19\0\0\xd1\xd7\x50\x08one.test\x51\x04/now\x22AB\x01c", 0x10e),
            (b"\x01\x22\0\0\xd1\xd7\x50\x08one.test\x51\x04/now\x27\x03connection\x01c", 0x10e),
        ] {
            match client.ask(bytes).await {
                Err(quinn::ReadToEndError::Read(quinn::ReadError::Reset(reset))) => {
                    assert_eq!(u64::from(reset), code, "{bytes:x?}");
                }
                other => panic!("{bytes:x?}: {other:?}"),
            }
        }
        let answer = client.ask(GET).await.unwrap();
        assert!(answer.ends_with(b"\x00\x03now"), "{answer:x?}");
    });
}

#[test]
fn heads_that_are_too_large_are_answered() {
    let setting = Setting::new();
    let site = setting.site(".maxHeadSize = 2K");
    block_on(async {
        let client = Raw::connect(&setting, site.addr()).await;
        let _control = client.say(CONTROL).await;
        let head = [&[0x01, 0x48, 0x01][..], &[0; 2049]].concat();
        let answer = client.ask(&head).await.unwrap();
        assert!(String::from_utf8_lossy(&answer).contains("431"), "{answer:x?}");
        // In few bytes, by which many are meant.
        let many = [GET, &[]].concat();
        let many = [&[0x01, 0x40, 20 + 100][..], &many[2..], &[0xc0 | 52; 100]].concat();
        let answer = client.ask(&many).await.unwrap();
        assert!(String::from_utf8_lossy(&answer).contains("431"), "{answer:x?}");
    });
    assert_eq!(site.counter("head_size"), 2);
}

#[test]
fn requests_wait_for_the_table() {
    let setting = Setting::new();
    let site = setting.site("");
    block_on(async {
        let client = Raw::connect(&setting, site.addr()).await;
        let _control = client.say(CONTROL).await;
        let mut encoder = client.say(&[0x02]).await;
        // The path is the first entry of the table, which is still to come.
        let request = b"\x01\x0f\x02\0\xd1\xd7\x50\x08one.test\x80";
        let waits: Vec<_> = (0..16)
            .map(|_| {
                let quic = client.quic.clone();
                tokio::spawn(async move {
                    let (mut send, mut recv) = quic.open_bi().await.unwrap();
                    send.write_all(request).await.unwrap();
                    send.finish().unwrap();
                    recv.read_to_end(1000).await.unwrap()
                })
            })
            .collect();
        // Others need not wait.
        let answer = client.ask(GET).await.unwrap();
        assert!(answer.ends_with(b"\x00\x03now"));
        encoder.write_all(b"\x3f\xe1\x1f\xc1\x04/now").await.unwrap();
        for wait in waits {
            assert!(wait.await.unwrap().ends_with(b"\x00\x03now"));
        }
        // Again, with what is there already.
        assert!(client.ask(request).await.unwrap().ends_with(b"\x00\x03now"));
        // So many may wait, not more.
        let missing = b"\x01\x0f\x03\0\xd1\xd7\x50\x08one.test\x80";
        let mut open = Vec::new();
        for _ in 0..17 {
            let (mut send, recv) = client.quic.open_bi().await.unwrap();
            send.write_all(missing).await.unwrap();
            open.push((send, recv));
        }
        assert_eq!(client.closed().await, 0x200);
    });
}

#[test]
fn what_is_not_known_is_skipped() {
    let setting = Setting::new();
    let site = setting.site("");
    block_on(async {
        let client = Raw::connect(&setting, site.addr()).await;
        let _control = client.say(&[0x00, 0x04, 3, 0x21, 0x40, 0x5f, 0x21, 2, 1, 2]).await;
        let _unknown = client.say(&[0x21, 1, 2, 3]).await;
        let grease = [&[0x21, 3, 1, 2, 3][..], GET, &[0x40, 0x5f, 1, 0]].concat();
        let answer = client.ask(&grease).await.unwrap();
        assert!(answer.ends_with(b"\x00\x03now"), "{answer:x?}");
    });
}

#[test]
fn floods_end_the_connection() {
    let setting = Setting::new();
    let site = setting.site("");
    block_on(async {
        let client = Raw::connect(&setting, site.addr()).await;
        let _control = client.say(&[CONTROL, &[0x21, 0].repeat(2000)].concat()).await;
        assert_eq!(client.closed().await, 0x107);
        let client = Raw::connect(&setting, site.addr()).await;
        let _control = client.say(CONTROL).await;
        let _ = client.ask(&[READ, &[0x00, 0].repeat(2000)].concat()).await;
        assert_eq!(client.closed().await, 0x107);
        // The server is not concerned.
        let client = Client::connect(&setting, &site).await;
        assert_eq!(client.get("/now").await.text(), "now");
    });
}
