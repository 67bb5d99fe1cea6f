//! A client that sends exactly the frames it is given.

use std::collections::VecDeque;

use bytes::BytesMut;
use hemi_proto::http2::PREFACE;
use hemi_proto::http2::hpack::Decoder;
use hemi_proto::message::FieldName;
use hemi_test::raw::Client;

use crate::site::Site;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
pub(crate) const PRIORITY_UPDATE: u8 = 16;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;

pub(crate) type Lines<'a> = &'a [(&'a str, &'a str)];

/// What a server needs to have in its config to be spoken to.
pub(crate) const IN_THE_CLEAR: &str = ".h2cPriorKnowledge = true";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
    /// Those of HEADERS.
    pub(crate) lines: Vec<(String, String)>,
}

impl Frame {
    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// The number at this place of the payload.
    pub(crate) fn number(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// What came on a stream.
#[derive(Default)]
pub(crate) struct Answer {
    /// Fields of each head, trailers among them.
    pub(crate) heads: Vec<Vec<(String, String)>>,
    pub(crate) body: Vec<u8>,
    /// The code of a reset.
    pub(crate) reset: Option<u32>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}, {} bytes, reset by {:?}", self.heads, self.body.len(), self.reset)
    }
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let final_head = self.heads.iter().find(|head| !head[0].1.starts_with('1'))?;
        final_head.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    pub(crate) fn status(&self) -> u16 {
        self.field(":status").unwrap_or_else(|| panic!("no status: {self:?}")).parse().unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(crate) struct Http2 {
    pub(crate) client: Client,
    decoder: Decoder,
    /// Frames that were read for another stream's sake.
    read: VecDeque<Frame>,
}

impl Http2 {
    /// Connects with these settings, and learns the server's.
    pub(crate) fn open_with(site: &Site, settings: &[(u16, u32)]) -> Self {
        Self::over(site.connect(), settings)
    }

    pub(crate) fn over(client: Client, settings: &[(u16, u32)]) -> Self {
        let mut http2 = Self { client, decoder: Decoder::default(), read: VecDeque::new() };
        http2.client.send(PREFACE).unwrap();
        let payload = settings
            .iter()
            .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat());
        http2.send(SETTINGS, 0, 0, &payload.collect::<Vec<_>>());
        http2.send(SETTINGS, ACK, 0, &[]);
        http2
    }

    pub(crate) fn open(site: &Site) -> Self {
        Self::open_with(site, &[])
    }

    pub(crate) fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.try_send(kind, flags, stream, payload).unwrap();
    }

    /// The same, of a server that may have closed the connection.
    pub(crate) fn try_send(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> std::io::Result<()> {
        self.client.send(frame(kind, flags, stream, payload))
    }

    /// Sends a request; more may follow unless `flags` say that it ends.
    pub(crate) fn request(&mut self, stream: u32, flags: u8, lines: Lines<'_>) {
        self.send(HEADERS, END_HEADERS | flags, stream, &block(lines));
    }

    pub(crate) fn get(&mut self, stream: u32, path: &str) {
        self.request(stream, END_STREAM, &head("GET", path));
    }

    /// Sends a GET and reads its answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, stream: u32, path: &str) -> Answer {
        self.get(stream, path);
        self.answer(stream)
    }

    /// The next frame; none at the end of the connection.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        if let Some(frame) = self.read.pop_front() {
            return Some(frame);
        }
        self.next_new()
    }

    fn next_new(&mut self) -> Option<Frame> {
        let head = self.client.read_exact(9).ok()?;
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        let payload = self.client.read_exact(len).ok()?;
        let kind = head[3];
        let lines = if kind == HEADERS { self.lines(&payload) } else { Vec::new() };
        Some(Frame { kind, flags: head[4], stream, payload, lines })
    }

    /// The next frame of this kind, whatever comes before it.
    #[track_caller]
    pub(crate) fn expect(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().unwrap_or_else(|| panic!("no frame of kind {kind}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// Reads what comes up to the end of a stream, and opens windows for it.
    #[track_caller]
    pub(crate) fn answer(&mut self, stream: u32) -> Answer {
        let mut answer = Answer::default();
        let mut others = std::mem::take(&mut self.read);
        loop {
            let known = others.iter().position(|frame| frame.stream == stream);
            let frame = known.and_then(|at| others.remove(at)).or_else(|| self.next_new());
            let Some(frame) = frame else { panic!("the connection ended: {answer:?}") };
            if frame.stream != stream {
                // The streams share a window, too.
                if frame.kind == DATA && !frame.payload.is_empty() {
                    let increment = (frame.payload.len() as u32).to_be_bytes();
                    self.send(WINDOW_UPDATE, 0, 0, &increment);
                }
                others.push_back(frame);
                continue;
            }
            match frame.kind {
                HEADERS => answer.heads.push(frame.lines.clone()),
                DATA => {
                    answer.body.extend(&frame.payload);
                    let increment = (frame.payload.len() as u32).to_be_bytes();
                    if !frame.payload.is_empty() {
                        self.send(WINDOW_UPDATE, 0, 0, &increment);
                        if !frame.ends_stream() {
                            self.send(WINDOW_UPDATE, 0, stream, &increment);
                        }
                    }
                }
                RST_STREAM => answer.reset = Some(frame.number(0)),
                WINDOW_UPDATE => {}
                other => panic!("a frame of kind {other}"),
            }
            if frame.ends_stream() || answer.reset.is_some() {
                self.read = others;
                return answer;
            }
        }
    }

    /// The code of the GOAWAY that comes next, after which the server closes.
    #[track_caller]
    pub(crate) fn expect_goaway(&mut self) -> u32 {
        let code = self.expect(GOAWAY).number(4);
        let _ = self.client.finish();
        while self.next().is_some() {}
        code
    }

    fn lines(&mut self, block: &[u8]) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        self.decoder
            .decode(block, &mut BytesMut::new(), |name, value| {
                let name = match name {
                    FieldName::Pseudo(pseudo) => pseudo.as_str().to_owned(),
                    FieldName::Field(name) => name.to_string(),
                    FieldName::Invalid { .. } => panic!("an invalid name"),
                };
                lines.push((name, String::from_utf8(value.to_vec()).unwrap()));
            })
            .unwrap();
        lines
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let [_, l0, l1, l2] = (payload.len() as u32).to_be_bytes();
    let [s0, s1, s2, s3] = stream.to_be_bytes();
    [&[l0, l1, l2, kind, flags, s0, s1, s2, s3][..], payload].concat()
}

/// The pseudo-fields of a request.
pub(crate) fn head<'a>(method: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", path)]
}

/// Lines as literals that no table is needed for.
pub(crate) fn block(lines: Lines<'_>) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in lines {
        block.push(0);
        for text in [name, value] {
            assert!(text.len() < 127 + 128);
            match text.len() {
                len @ ..127 => block.push(len as u8),
                len => block.extend([127, (len - 127) as u8]),
            }
            block.extend(text.as_bytes());
        }
    }
    block
}
