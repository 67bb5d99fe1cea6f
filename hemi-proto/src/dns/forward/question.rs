//! What is asked.

use super::{
    AVAILABLE, Code, Cursor, DESIRED, Edns, HEAD, Key, NAME, RESPONSE, TRUNCATED, UNCHECKED,
    put_edns,
};

/// A question, as a client has sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// By which the client knows the answer.
    pub id: u16,
    /// What it asks for.
    pub key: Key,
    /// Whether it wants the server to ask others.
    pub recursion: bool,
    /// What it can take, if it has said so.
    pub edns: Option<Edns>,
    /// The name, type and class as they were sent.
    raw: Box<[u8]>,
}

/// Why a message is no question that can be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuestionError {
    /// It is to be left alone: an answer, or too short to have a head.
    None,
    /// It is to be answered by [`Question::refuse`] with this.
    Refused(Code),
}

impl Question {
    /// Reads a question.
    ///
    /// # Errors
    /// When it is none, or none that a forwarder can ask.
    pub fn read(message: &[u8]) -> Result<Self, QuestionError> {
        let mut cursor = Cursor { message, at: 0 };
        let mut word = || cursor.u16().ok_or(QuestionError::None);
        let (id, flags) = (word()?, word()?);
        let [questions, answers, authorities, additional] = [word()?, word()?, word()?, word()?];
        if flags & RESPONSE != 0 {
            return Err(QuestionError::None);
        }
        if flags >> 11 & 0xf != 0 {
            return Err(QuestionError::Refused(Code::NOT_IMPLEMENTED));
        }
        let malformed = || QuestionError::Refused(Code::FORMAT);
        if (questions, answers, authorities) != (1, 0, 0) {
            return Err(malformed());
        }
        let start = cursor.at;
        // The first name of a message has nothing to point to.
        loop {
            let label =
                cursor.take(1).and_then(|len| len.first().copied()).ok_or_else(malformed)?;
            match label {
                0 => break,
                1..64 => drop(cursor.take(label.into()).ok_or_else(malformed)?),
                _ => return Err(malformed()),
            }
        }
        let name_end = cursor.at;
        if name_end - start > NAME {
            return Err(malformed());
        }
        let kind = cursor.take(4).and_then(|kind| kind.try_into().ok()).ok_or_else(malformed)?;
        let end = cursor.at;
        let mut edns = None;
        for _ in 0..additional {
            let record = cursor.record().ok_or_else(malformed)?;
            if let Some((found, _)) = record.edns()
                && edns.replace(found).is_some()
            {
                return Err(malformed());
            }
        }
        if edns.is_some_and(|edns| edns.version > 0) {
            return Err(QuestionError::Refused(Code::VERSION));
        }
        let key = Key {
            name: message[start..name_end].to_ascii_lowercase().into(),
            kind,
            dnssec: edns.is_some_and(|edns| edns.dnssec),
            unchecked: flags & UNCHECKED != 0,
        };
        let (recursion, raw) = (flags & DESIRED != 0, message[start..end].into());
        Ok(Self { id, key, recursion, edns, raw })
    }

    /// The name, type and class as they were sent.
    #[must_use]
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// Bytes of an answer by datagram that the client can take.
    #[must_use]
    pub fn room(&self) -> usize {
        self.edns.map_or(512, |edns| usize::from(edns.size).max(512))
    }

    /// The same question as a forwarder asks it, by this id; answers by datagram may have `size` bytes.
    #[must_use]
    pub fn ask(&self, id: u16, size: u16) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD + self.raw.len() + 11);
        let unchecked = if self.key.unchecked { UNCHECKED } else { 0 };
        put_head(&mut out, id, DESIRED | unchecked, [1, 0, 0, 1]);
        out.extend_from_slice(&self.raw);
        put_edns(&mut out, size, Code::OK, self.key.dnssec);
        out
    }

    /// An answer that says no more than how it went.
    #[must_use]
    pub fn answer(&self, code: Code, size: u16) -> Vec<u8> {
        self.empty(code, 0, size)
    }

    /// An answer that sends the client to ask by TCP.
    #[must_use]
    pub fn truncated(&self, code: Code, size: u16) -> Vec<u8> {
        self.empty(code, TRUNCATED, size)
    }

    fn empty(&self, code: Code, flags: u16, size: u16) -> Vec<u8> {
        let mut out = Vec::new();
        let desired = if self.recursion { DESIRED } else { 0 };
        let unchecked = if self.key.unchecked { UNCHECKED } else { 0 };
        let flags = flags | RESPONSE | AVAILABLE | desired | unchecked | code.0 & 0xf;
        put_head(&mut out, self.id, flags, [1, 0, 0, self.edns.is_some().into()]);
        out.extend_from_slice(&self.raw);
        if self.edns.is_some() {
            put_edns(&mut out, size, code, self.key.dnssec);
        }
        out
    }

    /// The answer to a message that is no question: only its head is believed.
    #[must_use]
    pub fn refuse(message: &[u8], code: Code, size: u16) -> Vec<u8> {
        let mut out = Vec::new();
        let word = |at: usize| {
            let bytes = message.get(at..at + 2).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u16::from_be_bytes)
        };
        // What was asked to be done is told again.
        let flags = RESPONSE | word(2) & 0x7900 | code.0 & 0xf;
        let edns = code.0 > 0xf;
        put_head(&mut out, word(0), flags, [0, 0, 0, edns.into()]);
        if edns {
            put_edns(&mut out, size, code, false);
        }
        out
    }
}

fn put_head(out: &mut Vec<u8>, id: u16, flags: u16, counts: [u16; 4]) {
    for word in [id, flags].into_iter().chain(counts) {
        out.extend(word.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01A\x04teSt\x00\x00\x01\x00\x01";

    fn with_edns(version: u8) -> Vec<u8> {
        let mut message = PLAIN.to_vec();
        message[11] = 1;
        message.extend([0, 0, 41, 4, 0xd0, 0, version, 0x80, 0, 0, 0]);
        message
    }

    #[test]
    fn questions_are_read() {
        let question = Question::read(PLAIN).unwrap();
        assert_eq!(&question.key.name[..], b"\x01a\x04test\0");
        assert_eq!((question.key.kind, question.recursion), ([0, 1, 0, 1], true));
        assert_eq!((question.edns, question.room()), (None, 512));
        let question = Question::read(&with_edns(0)).unwrap();
        assert!(question.key.dnssec);
        assert_eq!(question.room(), 1232);
    }

    #[test]
    fn what_is_asked_of_others_is_the_same_question() {
        for message in [PLAIN.to_vec(), with_edns(0)] {
            let question = Question::read(&message).unwrap();
            let asked = Question::read(&question.ask(77, 4096)).unwrap();
            assert_eq!((asked.id, asked.raw(), &asked.key), (77, question.raw(), &question.key));
            assert_eq!(asked.room(), 4096);
        }
    }

    #[test]
    fn what_is_no_question_is_answered_so_or_left_alone() {
        let changed = |at: usize, byte: u8| {
            let mut message = PLAIN.to_vec();
            message[at] = byte;
            Question::read(&message).unwrap_err()
        };
        assert_eq!(changed(2, 0x81), QuestionError::None);
        assert_eq!(Question::read(&PLAIN[..11]), Err(QuestionError::None));
        let refused = QuestionError::Refused;
        assert_eq!(changed(2, 0x29), refused(Code::NOT_IMPLEMENTED));
        assert_eq!(changed(5, 2), refused(Code::FORMAT));
        assert_eq!(changed(7, 1), refused(Code::FORMAT));
        assert_eq!(changed(12, 0xc0), refused(Code::FORMAT));
        assert_eq!(changed(11, 1), refused(Code::FORMAT));
        assert_eq!(Question::read(&with_edns(1)), Err(refused(Code::VERSION)));
        assert_eq!(Question::read(&PLAIN[..20]), Err(refused(Code::FORMAT)));
        let long = [&PLAIN[..12], &[[63; 64]; 4].concat(), &[0, 0, 1, 0, 1]].concat();
        assert_eq!(Question::read(&long), Err(refused(Code::FORMAT)));
        let answer = Question::refuse(&with_edns(1), Code::VERSION, 1232);
        assert_eq!(answer[..4], [0x12, 0x34, 0x81, 0]);
        assert_eq!(answer[12..], [0, 0, 41, 4, 0xd0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(Question::refuse(b"", Code::FORMAT, 0).len(), 12);
    }
}
