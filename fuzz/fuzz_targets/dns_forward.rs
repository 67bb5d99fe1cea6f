//! A message of the DNS that is a question is asked as the same question, and what answers it is told so that it is
//! read as the same answer again.
#![no_main]

use hemi_proto::dns::forward::{Answer, Question, QuestionError};
use libfuzzer_sys::fuzz_target;

/// A question for the type A of `a.test`, with EDNS.
const ASKED: &[u8] =
    b"\0\x07\x01\0\0\x01\0\0\0\0\0\x01\x01a\x04test\0\0\x01\0\x01\0\0\x29\x04\xd0\0\0\0\0\0\0";

fuzz_target!(|message: &[u8]| {
    match Question::read(message) {
        Ok(question) => {
            let asked = Question::read(&question.ask(question.id, 1232)).expect("a question");
            assert_eq!(asked.key, question.key);
            assert!(
                Question::read(&question.truncated(hemi_proto::dns::forward::Code::OK, 1232))
                    .is_err()
            );
        }
        Err(QuestionError::Refused(code)) => drop(Question::refuse(message, code, 1232)),
        Err(QuestionError::None) => {}
    }
    let Ok(asked) = Question::read(ASKED) else { return };
    // What is answered to that, by whatever id.
    let id = message.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    if let Ok(answer) = Answer::read(message.to_vec(), id, &asked) {
        let told = answer.to(&asked, 0, 1232);
        let again = Answer::read(told, asked.id, &asked).expect("an answer");
        assert_eq!((again.code, again.ttl), (answer.code, answer.ttl));
        let _ = answer.to(&asked, u32::MAX, 1232);
    }
});
