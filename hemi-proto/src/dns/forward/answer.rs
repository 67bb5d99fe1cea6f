//! What is answered.

use super::{
    AUTHENTIC, Code, Cursor, DESIRED, HEAD, Question, RESPONSE, SOA, TRUNCATED, UNCHECKED, put_edns,
};

/// An answer, without what was meant for the one who asked alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The whole message but for its pseudo-record of EDNS.
    message: Vec<u8>,
    /// Where its question ends.
    question_end: usize,
    /// Where the records tell for how long they hold.
    ttls: Vec<u16>,
    /// How it went.
    pub code: Code,
    /// Whether it is not all there is, for want of room.
    pub truncated: bool,
    /// Seconds for which it holds, also if it says that there is nothing; none if it does not tell.
    pub ttl: Option<u32>,
}

/// A message that is no answer to the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// It is malformed.
    #[error("a malformed message of the DNS")]
    Malformed,
    /// It is an answer to something else, or none.
    #[error("a message of the DNS that does not answer the question")]
    Foreign,
}

impl Answer {
    /// Reads the answer to a question that was asked by this id.
    ///
    /// # Errors
    /// When it is malformed, or answers something else.
    pub fn read(mut message: Vec<u8>, id: u16, question: &Question) -> Result<Self, AnswerError> {
        let mut cursor = Cursor { message: &message, at: 0 };
        let mut word = || cursor.u16().ok_or(AnswerError::Malformed);
        let (got, flags) = (word()?, word()?);
        let [questions, answers, authorities, additional] = [word()?, word()?, word()?, word()?];
        if got != id || flags & RESPONSE == 0 || flags >> 11 & 0xf != 0 || questions != 1 {
            return Err(AnswerError::Foreign);
        }
        let asked = cursor.take(question.raw().len()).ok_or(AnswerError::Malformed)?;
        if !asked.eq_ignore_ascii_case(question.raw()) {
            return Err(AnswerError::Foreign);
        }
        let question_end = cursor.at;
        let mut code = flags & 0xf;
        let (mut ttls, mut least, mut nothing) = (Vec::new(), None, None);
        let mut cut = None;
        let sections = [answers, authorities, additional];
        for (section, count) in sections.into_iter().enumerate() {
            for nth in 0..count {
                let record = cursor.record().ok_or(AnswerError::Malformed)?;
                if let Some((_, upper)) = record.edns().filter(|_| section == 2) {
                    code |= upper << 4;
                    // What follows may point behind it, and can be done without.
                    cut.get_or_insert((record.start, nth));
                    continue;
                }
                // Values with the highest bit are to be taken for 0 (RFC 2181, 8).
                let ttl = if record.ttl > i32::MAX as u32 { 0 } else { record.ttl };
                if cut.is_none() {
                    ttls.push(u16::try_from(record.ttl_at).map_err(|_| AnswerError::Malformed)?);
                    least = Some(least.map_or(ttl, |least: u32| least.min(ttl)));
                }
                if section == 1 && record.kind == SOA {
                    let minimum = record.data.last_chunk().copied().map(u32::from_be_bytes);
                    nothing = Some(ttl.min(minimum.ok_or(AnswerError::Malformed)?));
                }
            }
        }
        let end = cursor.at;
        if let Some((start, before)) = cut {
            message.truncate(start);
            if let Some(count) = message.get_mut(10..12) {
                count.copy_from_slice(&before.to_be_bytes());
            }
        } else {
            // What is behind all records is none, and what is appended would stand behind it.
            message.truncate(end);
        }
        let code = Code(code);
        let ttl = match (code, answers) {
            // That there is nothing holds for as long as the zone says (RFC 2308, 5).
            (Code::NO_NAME, _) | (Code::OK, 0) => nothing,
            (Code::OK, _) => least,
            _ => None,
        };
        let truncated = flags & TRUNCATED != 0;
        Ok(Self { message, question_end, ttls, code, truncated, ttl })
    }

    /// Bytes that it takes, about.
    #[must_use]
    pub fn size(&self) -> usize {
        self.message.len() + 2 * self.ttls.len()
    }

    /// As it is sent to a client, when it is so many seconds old; `size` is how many bytes we can take ourselves.
    #[must_use]
    pub fn to(&self, question: &Question, age: u32, size: u16) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.message.len() + 11);
        out.extend_from_slice(&self.message);
        out[..2].copy_from_slice(&question.id.to_be_bytes());
        let flags = u16::from_be_bytes([out[2], out[3]]);
        // What was checked is told to those who ask about that.
        let told = if question.key.dnssec { 0 } else { AUTHENTIC };
        let flags = flags & !(DESIRED | UNCHECKED | told | TRUNCATED);
        let desired = if question.recursion { DESIRED } else { 0 };
        let unchecked = if question.key.unchecked { UNCHECKED } else { 0 };
        out[2..4].copy_from_slice(&(flags | desired | unchecked).to_be_bytes());
        // With the letters that the client has used.
        if question.raw().len() == self.question_end - HEAD {
            out[HEAD..self.question_end].copy_from_slice(question.raw());
        }
        for at in &self.ttls {
            let at = usize::from(*at);
            if let Some(ttl) = out.get_mut(at..at + 4).and_then(|ttl| ttl.first_chunk_mut()) {
                *ttl = u32::from_be_bytes(*ttl).saturating_sub(age).to_be_bytes();
            }
        }
        if question.edns.is_some() {
            let count = u16::from_be_bytes([out[10], out[11]]).saturating_add(1);
            out[10..12].copy_from_slice(&count.to_be_bytes());
            put_edns(&mut out, size, self.code, question.key.dnssec);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x04test\x00\x00\x01\x00\x01";

    fn question() -> Question {
        Question::read(ASKED).unwrap()
    }

    /// An answer with these records, counted by section.
    fn message(code: u8, counts: [u8; 3], records: &[&[u8]]) -> Vec<u8> {
        let mut message = ASKED.to_vec();
        message[2..4].copy_from_slice(&[0x81, 0x80 | code]);
        [message[7], message[9], message[11]] = counts;
        records.iter().for_each(|record| message.extend_from_slice(record));
        message
    }

    const A: &[u8] = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x7f\x00\x00\x01";
    const LATER: &[u8] = b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x01\x00\x00\x04\x7f\x00\x00\x02";
    const EDNS: &[u8] = b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00";

    fn soa(ttl: u8, minimum: u8) -> Vec<u8> {
        let mut record = b"\xc0\x0c\x00\x06\x00\x01\x00\x00\x00".to_vec();
        record.extend([ttl, 0, 22, 0, 0]);
        record.extend([0; 19]);
        record.push(minimum);
        record
    }

    #[test]
    fn the_shortest_time_of_all_records_holds() {
        let sent = message(0, [2, 0, 1], &[LATER, A, EDNS]);
        let answer = Answer::read(sent, 0x1234, &question()).unwrap();
        assert_eq!((answer.ttl, answer.code), (Some(60), Code::OK));
        let to = answer.to(&question(), 10, 1232);
        assert_eq!(to, message(0, [2, 0, 0], &[LATER, A]).replace_ttls(&[246, 50]));
        // Older than it may be, it is told to hold no longer.
        let to = answer.to(&question(), 100, 1232);
        assert_eq!(to, message(0, [2, 0, 0], &[LATER, A]).replace_ttls(&[156, 0]));
    }

    trait Ttls {
        fn replace_ttls(self, ttls: &[u8]) -> Self;
    }

    impl Ttls for Vec<u8> {
        fn replace_ttls(mut self, ttls: &[u8]) -> Self {
            for (nth, ttl) in ttls.iter().enumerate() {
                let at = ASKED.len() + nth * A.len() + 6;
                self[at..at + 4].copy_from_slice(&[0, 0, 0, *ttl]);
            }
            self
        }
    }

    #[test]
    fn nothing_holds_for_as_long_as_the_zone_says() {
        for (code, ttl, minimum, expected) in
            [(3, 60, 30, Some(30)), (0, 20, 30, Some(20)), (2, 60, 60, None)]
        {
            let sent = message(code, [0, 1, 0], &[&soa(ttl, minimum)]);
            assert_eq!(Answer::read(sent, 0x1234, &question()).unwrap().ttl, expected);
        }
        let bare = Answer::read(message(3, [0; 3], &[]), 0x1234, &question()).unwrap();
        assert_eq!((bare.ttl, bare.code), (None, Code::NO_NAME));
    }

    #[test]
    fn clients_get_what_they_understand() {
        let mut asks = ASKED.to_vec();
        asks[11] = 1;
        asks[13] = b'A';
        asks.extend_from_slice(EDNS);
        let asks = Question::read(&asks).unwrap();
        let mut sent = message(0, [1, 0, 2], &[A, EDNS, LATER]);
        // The upper bits of an answer's code.
        sent[ASKED.len() + A.len() + 5] = 1;
        let answer = Answer::read(sent, 0x1234, &question()).unwrap();
        assert_eq!(answer.code, Code(16));
        let to = answer.to(&asks, 0, 1232);
        assert_eq!((to[11], to[13]), (1, b'A'));
        assert_eq!(to.len(), ASKED.len() + A.len() + EDNS.len());
        assert_eq!(to[to.len() - 6], 1);
    }

    #[test]
    fn what_answers_something_else_is_not_believed() {
        let good = message(0, [1, 0, 0], &[A]);
        let read = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut sent = good.clone();
            change(&mut sent);
            Answer::read(sent, 0x1234, &question()).map(drop)
        };
        assert_eq!(read(&|m| m[13] = b'A'), Ok(()));
        for (at, byte) in [(0, 0), (2, 1), (2, 0x91), (5, 2), (13, b'b'), (21, 2)] {
            assert_eq!(read(&|m| m[at] = byte), Err(AnswerError::Foreign), "{at}");
        }
        for len in 12..good.len() {
            assert_eq!(read(&|m| m.truncate(len)), Err(AnswerError::Malformed), "{len}");
        }
        assert_eq!(read(&|m| m[7] = 2), Err(AnswerError::Malformed));
    }
}
