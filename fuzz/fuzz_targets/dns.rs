//! Answers of the DNS, whatever they are, come to what was asked for or to an error.
#![no_main]

use hemi_proto::dns::{DnsError, Question, Record, RecordType};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    for kind in [RecordType::A, RecordType::Aaaa, RecordType::Srv] {
        let question = Question::new(0x1234, "app.test", kind).expect("it is a name");
        let answer = match question.read(message) {
            Ok(answer) => answer,
            Err(DnsError::Name) => panic!("the question is a good one"),
            Err(_) => continue,
        };
        assert_eq!(answer.ttl.is_none(), answer.records.is_empty());
        for record in &answer.records {
            match (record, kind) {
                (Record::Ip(ip), RecordType::A) => assert!(ip.is_ipv4()),
                (Record::Ip(ip), RecordType::Aaaa) => assert!(ip.is_ipv6()),
                (Record::Service(service), RecordType::Srv) => {
                    // It can be looked up next.
                    Question::new(1, &service.host, RecordType::A).expect("it is a name");
                }
                other => panic!("{other:?}"),
            }
        }
    }
});
