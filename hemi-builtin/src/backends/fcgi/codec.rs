//! FastCGI as a server speaks it.

use bytes::{Bytes, BytesMut};
use hemi_core::io::Outbox;
use hemi_proto::cgi::CgiHeadReader;
use hemi_proto::fcgi::{
    AnswerReader, End, Event, KeepConn, MAX_CONTENT, encode_stdin_end, encode_stdin_head,
};
use hemi_web::{BoxError, Interim};
use http::{HeaderMap, Method};
use tracing::warn;

use crate::backends::cgi::{CGI_HEADS, Content, head};
use crate::backends::exchange::{Codec, Decoded, Head};

/// Bytes of a program's complaints about one request that are logged, at most.
const COMPLAINTS: usize = 16 << 10;

/// One request, and the answer to it.
pub(super) struct Fcgi {
    keep: KeepConn,
    node: String,
    records: AnswerReader,
    heads: CgiHeadReader,
    /// What the program has answered, until its head is whole.
    start: BytesMut,
    content: Content,
    /// What the program complains about, until it is over.
    complaints: Vec<u8>,
    ended: bool,
}

impl Fcgi {
    pub(super) fn new(method: &Method, keep: KeepConn, node: String) -> Self {
        Self {
            keep,
            node,
            records: AnswerReader::default(),
            heads: CgiHeadReader::default(),
            start: BytesMut::new(),
            content: Content::of(method),
            complaints: Vec::new(),
            ended: false,
        }
    }

    /// The next piece of the answer; none if it is not there yet, or the answer is over.
    fn next(&mut self, buf: &mut BytesMut) -> Result<Option<Bytes>, BoxError> {
        loop {
            match self.records.read(buf)? {
                Event::Stdout(data) => return Ok(Some(data)),
                Event::Stderr(text) => {
                    let room = COMPLAINTS.saturating_sub(self.complaints.len()).min(text.len());
                    self.complaints.extend_from_slice(&text[..room]);
                }
                Event::NeedMore => return Ok(None),
                Event::End(End::Complete(_)) => {
                    self.complain();
                    self.ended = true;
                    return Ok(None);
                }
                Event::End(End::Overloaded) => return Err("the application is overloaded".into()),
                Event::End(_) => return Err("the application does not take the request".into()),
            }
        }
    }

    fn complain(&mut self) {
        let complaints = std::mem::take(&mut self.complaints);
        for line in String::from_utf8_lossy(&complaints).lines().filter(|l| !l.is_empty()) {
            warn!(node = self.node, "{line}");
        }
    }
}

impl Codec for Fcgi {
    fn put_data(&mut self, out: &mut Outbox, mut data: Bytes) {
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(MAX_CONTENT));
            encode_stdin_head(out.small(), piece.len() as u16);
            out.push(piece);
        }
    }

    fn put_end(&mut self, out: &mut Outbox, _: &HeaderMap) {
        encode_stdin_end(out.small());
    }

    fn read_head(
        &mut self,
        buf: &mut BytesMut,
        _: Option<&Interim>,
    ) -> Result<Option<Head>, BoxError> {
        while let Some(data) = self.next(buf)? {
            self.start.extend_from_slice(&data);
            if let Some(cgi) = self.heads.read(&mut self.start, &CGI_HEADS)? {
                self.content.announced(&cgi);
                return Ok(Some(head(cgi)));
            }
        }
        if self.ended { Err("the answer has no head".into()) } else { Ok(None) }
    }

    fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, BoxError> {
        loop {
            let data = match self.start.is_empty() {
                true if self.ended => return Ok(Decoded::End(None)),
                true => self.next(buf)?,
                false => Some(self.start.split().freeze()),
            };
            match data.map(|data| self.content.take(data)) {
                Some(data) if data.is_empty() => {}
                Some(data) => return Ok(Decoded::Data(data)),
                None if self.ended => self.content.end()?,
                None => return Ok(Decoded::NeedMore),
            }
        }
    }

    fn remaining(&self) -> Option<u64> {
        // Though its length may be known, it is over with the record that says so.
        None
    }

    fn close(&mut self) -> Result<(), BoxError> {
        self.complain();
        Err("the connection was closed before the answer was over".into())
    }

    fn is_ended(&self) -> bool {
        self.ended && self.start.is_empty()
    }

    fn may_keep(&self) -> bool {
        self.keep == KeepConn::Yes
    }
}
