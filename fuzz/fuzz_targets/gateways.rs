//! Answers of FastCGI applications, CGI programs and AJP containers read the same however they arrive.
#![no_main]

use bytes::BytesMut;
use hemi_fuzz::{feed, split_piece_size};
use hemi_proto::cgi::{CgiHeadReader, CgiLimits};
use hemi_proto::{ajp, fcgi};
use libfuzzer_sys::fuzz_target;

const LIMITS: CgiLimits = CgiLimits { size: 200, fields: 8 };

fuzz_target!(|input: &[u8]| {
    let Some((&protocol, input)) = input.split_first() else { return };
    let Some((size, bytes)) = split_piece_size(input) else { return };
    let whole = bytes.len().max(1);
    match protocol % 3 {
        0 => assert_eq!(fcgi_answer(bytes, whole), fcgi_answer(bytes, size)),
        1 => assert_eq!(ajp_answer(bytes, whole), ajp_answer(bytes, size)),
        _ => {
            let head = |size| feed(bytes, size, |buf| CgiHeadReader::default().read(buf, &LIMITS));
            assert_eq!(head(whole), head(size));
            assert_eq!(cgi_head(bytes, size), head(whole));
        }
    }
});

/// The same, remembering what was searched already.
fn cgi_head(
    bytes: &[u8],
    size: usize,
) -> (Result<Option<hemi_proto::cgi::CgiHead>, hemi_proto::cgi::CgiHeadError>, BytesMut) {
    let mut reader = CgiHeadReader::default();
    feed(bytes, size, |buf| reader.read(buf, &LIMITS))
}

/// All of what an application has sent, pieces put together.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    end: Option<Result<fcgi::End, fcgi::AnswerError>>,
}

fn fcgi_answer(bytes: &[u8], size: usize) -> Answer {
    let (mut reader, mut buf, mut answer) = <(fcgi::AnswerReader, BytesMut, Answer)>::default();
    for piece in bytes.chunks(size) {
        buf.extend_from_slice(piece);
        loop {
            match reader.read(&mut buf) {
                Ok(fcgi::Event::NeedMore) => break,
                Ok(fcgi::Event::Stdout(data)) => answer.stdout.extend_from_slice(&data),
                Ok(fcgi::Event::Stderr(data)) => answer.stderr.extend_from_slice(&data),
                Ok(fcgi::Event::End(end)) => {
                    assert!(reader.is_ended());
                    answer.end = Some(Ok(end));
                }
                Err(e) => {
                    answer.end = Some(Err(e));
                    return answer;
                }
            }
        }
    }
    answer
}

fn ajp_answer(bytes: &[u8], size: usize) -> Vec<Result<ajp::Event, ajp::AnswerError>> {
    let (mut reader, mut buf) = (ajp::AnswerReader::new(300), BytesMut::new());
    let mut events = Vec::new();
    for piece in bytes.chunks(size) {
        buf.extend_from_slice(piece);
        loop {
            match reader.read(&mut buf) {
                Ok(ajp::Event::NeedMore) => break,
                event => {
                    let failed = event.is_err();
                    events.push(event);
                    if failed {
                        return events;
                    }
                }
            }
        }
    }
    events
}
