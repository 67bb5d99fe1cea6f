use super::*;

/// The events of a message with the boundary `b`, data joined, and the error that ended them; when it
/// comes in pieces of this size.
fn events(message: &[u8], size: usize, limits: MultipartLimits) -> Vec<String> {
    let mut reader = MultipartReader::new(&Boundary::parse(b"b").expect("boundary"), limits);
    let (mut events, mut data) = (Vec::new(), Vec::new());
    for piece in message.chunks(size) {
        let mut piece = Bytes::copy_from_slice(piece);
        loop {
            let event = match reader.next(&mut piece) {
                Ok(Some(MultipartEvent::Data(piece))) => {
                    assert!(!piece.is_empty());
                    data.extend_from_slice(&piece);
                    continue;
                }
                Ok(Some(MultipartEvent::Part(head))) => match head.filename {
                    Some(filename) => format!("{}={filename}", head.name),
                    None => head.name,
                },
                Ok(Some(MultipartEvent::PartEnd)) => {
                    format!("[{}]", String::from_utf8_lossy(&std::mem::take(&mut data)))
                }
                Ok(Some(MultipartEvent::End)) => "end".to_owned(),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(reader.next(&mut piece), Err(error));
                    assert_eq!(reader.finish(), Err(error));
                    events.push(format!("{error:?}"));
                    return events;
                }
            };
            events.push(event);
        }
        assert!(piece.is_empty());
    }
    if let Err(error) = reader.finish() {
        events.push(format!("{error:?}"));
    }
    events
}

#[track_caller]
fn expect(message: &str, expected: &[&str]) {
    // Whole, byte by byte, and cut at any place.
    for size in 1..=message.len().max(1) {
        let found = events(message.as_bytes(), size, MultipartLimits::default());
        assert_eq!(found, expected, "{message:?} in pieces of {size}");
    }
}

/// The head of a part named `n`.
const HEAD: &str = "Content-Disposition: form-data; name=n\r\n\r\n";

#[test]
fn parts() {
    #[rustfmt::skip]
    let rows: &[(&str, &[&str])] = &[
        ("--b--", &["end"]),
        ("--b--\r\n", &["end"]),
        ("\r\n--b--\r\nepilogue", &["end"]),
        ("preamble\r\n--b \t\r\nHEADx\r\n--b--", &["n", "[x]", "end"]),
        ("--b\r\nHEAD\r\n--b--", &["n", "[]", "end"]),
        ("--b\r\nHEAD--b--", &["n", "[]", "end"]),
        ("--b\r\nHEAD\r\n\r\n--b--", &["n", "[\r\n]", "end"]),
        ("--b\r\nHEADa\r\n--b\r\nHEADb\r\n--b--", &["n", "[a]", "n", "[b]", "end"]),
        // What nearly is a delimiter is data.
        ("--b\r\nHEAD--\r\n-\r\n--\r\r\n--a\n--b\r\n--b--", &["n", "[--\r\n-\r\n--\r\r\n--a\n--b]", "end"]),
        ("--b\r\nHEAD-\r\n--b--", &["n", "[-]", "end"]),
        ("--b\r\nHEAD\r\r\n\r\n--b--", &["n", "[\r\r\n]", "end"]),
        ("--a\r\n--b--", &["end"]),
    ];
    for (message, expected) in rows {
        expect(&message.replace("HEAD", HEAD), expected);
    }
}

#[test]
fn malformed() {
    #[rustfmt::skip]
    let rows: &[(&str, &[&str])] = &[
        ("", &["Incomplete"]),
        ("x", &["Incomplete"]),
        ("--b", &["Incomplete"]),
        ("--b-", &["Incomplete"]),
        ("--b\r\nHEAD", &["n", "Incomplete"]),
        ("--b\r\nHEADx\r\n--b\r\n", &["n", "[x]", "Incomplete"]),
        ("--b\n", &["Delimiter"]),
        ("--bc\r\n", &["Delimiter"]),
        ("--b-c", &["Delimiter"]),
        ("--b\rc", &["Delimiter"]),
        ("--b --", &["Delimiter"]),
        ("--b\r\nHEADx\r\n--bc\r\n", &["n", "[x]", "Delimiter"]),
        ("--b\r\nHEADx\n--b--", &["n", "Incomplete"]),
        ("--b\r\n\r\n", &["Disposition"]),
        ("--b\r\nA: b\r\n\r\n", &["Disposition"]),
        ("--b\r\nContent-Disposition: form-data; name=n\n\r\n", &["Head"]),
        ("--b\r\nContent-Disposition: form-data;\r\n name=n\r\n\r\n", &["Head"]),
        ("--b\r\nContent Disposition: form-data; name=n\r\n\r\n", &["Head"]),
        ("--b\r\nContent-Disposition: form-data; name=n\0\r\n\r\n", &["Head"]),
        ("--b\r\n--b\r\n\r\n", &["Head"]),
        ("--b\r\nContent-Transfer-Encoding: base64\r\nHEAD", &["TransferEncoding"]),
        ("--b\r\nContent-Transfer-Encoding: 8Bit\r\nHEAD\r\n--b--", &["n", "[]", "end"]),
    ];
    for (message, expected) in rows {
        expect(&message.replace("HEAD", HEAD), expected);
    }
}

#[test]
fn dispositions() {
    for (disposition, expected) in [
        ("form-data; name=\"a\"", "a"),
        ("Form-Data;NAME=a;x=y", "a"),
        ("form-data; name=\"\"", ""),
        ("form-data; name=\"é %22%0d%0A%41 \\\"\\\\\\n\"", "é \"\r\n%41 \"\\\\n"),
        ("form-data; name=a; filename=\"\"", "a="),
        ("form-data; name=a; filename=\"b c.txt\"", "a=b c.txt"),
        ("form-data; name=a; filename=\"C:\\d\\e.txt\"", "a=C:\\d\\e.txt"),
        ("form-data; filename*=utf-8''%e2%82%ac%25.txt; name=a; filename=x", "a=€%.txt"),
        ("form-data; name=a; filename*=UTF-8'en'b%zz", "a=b%zz"),
        ("form-data", "Disposition"),
        ("form-data; filename=a", "Disposition"),
        ("attachment; name=a", "Disposition"),
        ("form-data; name=a; name=b", "Disposition"),
        ("form-data; name=a; filename=b; filename=c", "Disposition"),
        ("form-data; name=a b", "Disposition"),
        ("form-data; name=\"a", "Disposition"),
        ("form-data; name=a; filename*=b", "Disposition"),
        ("form-data; name=a; filename*=iso-8859-1''b", "Disposition"),
        ("form-data; name=a; filename*=utf-8''%ff", "Disposition"),
        ("form-data; name=a\r\nContent-Disposition: form-data; name=b", "Disposition"),
    ] {
        let message = format!("--b\r\nContent-Disposition: {disposition}\r\n\r\n\r\n--b--");
        match expected {
            "Disposition" => expect(&message, &[expected]),
            _ => expect(&message, &[expected, "[]", "end"]),
        }
    }
    let message = b"--b\r\nContent-Disposition: form-data; name=\"\xff\"\r\n\r\n";
    assert_eq!(events(message, 9, MultipartLimits::default()), ["Disposition"]);
}

#[test]
fn safe_file_names() {
    for (filename, expected) in [
        (None, None),
        (Some(""), None),
        (Some("."), None),
        (Some("/a/.."), None),
        (Some("a/"), None),
        (Some(".\0."), None),
        (Some("a.txt"), Some("a.txt")),
        (Some("../../etc/passwd"), Some("passwd")),
        (Some("C:\\a\\b c.txt"), Some("b c.txt")),
        (Some("a\0b\r\n\u{85}é.txt"), Some("abé.txt")),
        (Some("..a"), Some("..a")),
    ] {
        let filename = filename.map(str::to_owned);
        let head = PartHead { name: String::new(), filename, headers: http::HeaderMap::new() };
        assert_eq!(head.file_name().as_deref(), expected, "{:?}", head.filename);
    }
}

#[test]
fn fields_of_a_part() {
    let message = format!("--b\r\nContent-Type: text/a\r\nX: y\r\n{HEAD}");
    let boundary = Boundary::of(b"multipart/form-data; boundary=b").expect("boundary");
    let mut reader = MultipartReader::new(&boundary, MultipartLimits::default());
    let event = reader.next(&mut message.into()).expect("a part");
    let Some(MultipartEvent::Part(head)) = event else { panic!("{event:?}") };
    assert_eq!(head.content_type().map(|value| value.as_bytes()), Some(&b"text/a"[..]));
    assert_eq!(head.headers.get("x").map(|value| value.as_bytes()), Some(&b"y"[..]));
}

#[test]
fn data_is_not_copied() {
    let boundary = Boundary::parse(b"b").expect("boundary");
    let mut reader = MultipartReader::new(&boundary, MultipartLimits::default());
    let mut input = Bytes::from(format!("--b\r\n{HEAD}some data\r\n--b--"));
    let start = input.as_ptr() as usize + 5 + HEAD.len();
    assert!(matches!(reader.next(&mut input), Ok(Some(MultipartEvent::Part(_)))));
    let event = reader.next(&mut input).expect("data");
    let Some(MultipartEvent::Data(data)) = event else { panic!("{event:?}") };
    assert_eq!((&data[..], data.as_ptr() as usize), (&b"some data"[..], start));
}

#[test]
fn limits() {
    let limits = MultipartLimits { head_size: HEAD.len(), parts: 2 };
    let part = format!("\r\n--b\r\n{HEAD}");
    for (message, expected) in [
        (part.repeat(2) + "\r\n--b--", vec!["n", "[]", "n", "[]", "end"]),
        (part.repeat(3), vec!["n", "[]", "n", "[]", "TooManyParts"]),
        (format!("--b\r\nx{HEAD}"), vec!["HeadTooLarge"]),
        (format!("--b\r\n{}", "x".repeat(HEAD.len())), vec!["HeadTooLarge"]),
        (format!("--b\r\n{}", "x".repeat(HEAD.len() - 1)), vec!["Incomplete"]),
        (format!("--b{}\r\n", " ".repeat(MAX_PADDING)), vec!["Incomplete"]),
        (format!("--b{}\r\n", " ".repeat(MAX_PADDING + 1)), vec!["Delimiter"]),
        (format!("{}\r\n--b--", "x".repeat(MAX_AROUND)), vec!["end"]),
        (format!("{}\r\n--b--x", "x".repeat(MAX_AROUND)), vec!["end", "Around"]),
        (format!("x{}\r\n--b--", "x".repeat(MAX_AROUND)), vec!["Around"]),
    ] {
        for size in [1, 2, 7, 1_000, message.len()] {
            assert_eq!(events(message.as_bytes(), size, limits), expected, "{message:?} by {size}");
        }
    }
    let fields = "a: b\r\n".repeat(32);
    let message = format!("--b\r\n{fields}{HEAD}");
    assert_eq!(events(message.as_bytes(), 9, MultipartLimits::default()), ["HeadTooLarge"]);
}

#[test]
fn boundaries() {
    let longest = "b".repeat(70);
    for (content_type, expected) in [
        ("multipart/form-data; boundary=b", Ok("b")),
        ("Multipart/Form-Data;charset=x;Boundary=\"b c:?\"", Ok("b c:?")),
        (&*format!("multipart/form-data; boundary={longest}"), Ok(&*longest)),
        ("multipart/form-data; boundary=----WebKitFormBoundaryA", Ok("----WebKitFormBoundaryA")),
        ("", Err(MultipartError::MediaType)),
        ("multipart/mixed; boundary=b", Err(MultipartError::MediaType)),
        ("multipart/form-data", Err(MultipartError::Boundary)),
        ("multipart/form-data; boundary=", Err(MultipartError::Boundary)),
        ("multipart/form-data; boundary=\"\"", Err(MultipartError::Boundary)),
        ("multipart/form-data; boundary=b; boundary=b", Err(MultipartError::Boundary)),
        ("multipart/form-data; boundary=b, boundary=c", Err(MultipartError::Boundary)),
        ("multipart/form-data; boundary=a:b", Err(MultipartError::Boundary)),
        ("multipart/form-data; boundary=\"b \"", Err(MultipartError::Boundary)),
        ("multipart/form-data; boundary=\"b\\c\"", Err(MultipartError::Boundary)),
        ("multipart/form-data; boundary=b!", Err(MultipartError::Boundary)),
        (&*format!("multipart/form-data; boundary={longest}b"), Err(MultipartError::Boundary)),
    ] {
        let expected = expected.map(|text| Boundary(text.into()));
        assert_eq!(Boundary::of(content_type.as_bytes()), expected, "{content_type}");
    }
}
