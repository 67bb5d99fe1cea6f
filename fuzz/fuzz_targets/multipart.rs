//! A form in parts reads the same however it arrives, and its parts again after they were written.
#![no_main]

use bytes::Bytes;
use hemi_fuzz::split_piece_size;
use hemi_proto::multipart::{
    Boundary, MultipartError, MultipartEvent, MultipartLimits, MultipartReader, PartHead,
};
use libfuzzer_sys::fuzz_target;

const LIMITS: MultipartLimits = MultipartLimits { head_size: 200, parts: 8 };

fuzz_target!(|input: &[u8]| {
    // A line with the content type, or nothing for the boundary `b`; then the content.
    let Some((size, input)) = split_piece_size(input) else { return };
    let Some(end) = input.iter().position(|&b| b == b'\n') else { return };
    let (content_type, message) = (&input[..end], &input[end + 1..]);
    let plain = content_type.is_empty().then_some(&b"multipart/form-data; boundary=b"[..]);
    let Ok(boundary) = Boundary::of(plain.unwrap_or(content_type)) else { return };
    let whole = Form::read(&boundary, [message]);
    assert_eq!(whole, Form::read(&boundary, message.chunks(size)));
    // Cut once, at any place.
    for at in 0..message.len().min(256) {
        let (one, other) = message.split_at(at);
        assert_eq!(whole, Form::read(&boundary, [one, other]), "cut at {at}");
    }
    for (head, _) in &whole.parts {
        check_file_name(head);
    }
    if whole.result == Ok(()) {
        let again = Form::read(&boundary, [&*whole.write(&boundary)]);
        assert_eq!(again, whole);
    }
});

/// What was read, whatever the pieces it came in.
#[derive(Debug, PartialEq)]
struct Form {
    parts: Vec<(PartHead, Vec<u8>)>,
    /// Parts that have ended.
    ended: usize,
    result: Result<(), MultipartError>,
}

impl Form {
    fn read<'a>(boundary: &Boundary, pieces: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut reader = MultipartReader::new(boundary, LIMITS);
        let mut form = Self { parts: Vec::new(), ended: 0, result: Ok(()) };
        let fed = pieces.into_iter().try_for_each(|piece| form.feed(&mut reader, piece));
        form.result = fed.and_then(|()| reader.finish());
        form
    }

    fn feed(&mut self, reader: &mut MultipartReader, piece: &[u8]) -> Result<(), MultipartError> {
        let mut piece = Bytes::copy_from_slice(piece);
        while let Some(event) = reader.next(&mut piece)? {
            match event {
                MultipartEvent::Part(head) => {
                    assert_eq!(self.ended, self.parts.len());
                    assert!(self.parts.len() < LIMITS.parts);
                    self.parts.push((head, Vec::new()));
                }
                MultipartEvent::Data(data) => {
                    assert!(!data.is_empty() && self.ended + 1 == self.parts.len());
                    let (_, all) = self.parts.last_mut().expect("a part");
                    all.extend_from_slice(&data);
                }
                MultipartEvent::PartEnd => self.ended += 1,
                MultipartEvent::End => assert_eq!(self.ended, self.parts.len()),
            }
        }
        assert!(piece.is_empty());
        Ok(())
    }

    fn write(&self, boundary: &Boundary) -> Vec<u8> {
        let mut message = Vec::new();
        for (head, data) in &self.parts {
            message.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
            for (name, value) in &head.headers {
                message.extend_from_slice(name.as_str().as_bytes());
                message.extend_from_slice(b":");
                message.extend_from_slice(value.as_bytes());
                message.extend_from_slice(b"\r\n");
            }
            message.extend_from_slice(b"\r\n");
            message.extend_from_slice(data);
            message.extend_from_slice(b"\r\n");
        }
        message.extend_from_slice(format!("--{boundary}--").as_bytes());
        message
    }
}

fn check_file_name(head: &PartHead) {
    if let Some(name) = head.file_name() {
        assert!(!name.contains(['/', '\\']) && !name.contains(char::is_control));
        assert!(!matches!(&*name, "" | "." | ".."));
        assert!(head.filename.is_some());
    }
}
