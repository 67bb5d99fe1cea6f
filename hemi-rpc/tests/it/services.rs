//! The services that are served: the same as the peer in Go has.

use std::time::Duration;

use hemi_core::{Component, Explain};
use hemi_rpc::{Call, CodecId, Fault, RawPayload, message, service};

#[message]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Args {
    pub(crate) a: i64,
    pub(crate) b: i64,
}

#[message]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) c: i64,
}

#[message]
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Team {
    #[serde(rename = "ID")]
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) colours: Vec<String>,
    #[serde(with = "hemi_rpc::codec::binary")]
    pub(crate) crest: Vec<u8>,
    pub(crate) points: std::collections::BTreeMap<String, i64>,
    pub(crate) ratio: f64,
}

pub(crate) struct Arith;

#[service]
impl Arith {
    pub(crate) fn mul(&self, args: Args) -> Result<Reply, Fault> {
        Ok(Reply { c: args.a * args.b })
    }

    pub(crate) async fn fail(&self, _: Args) -> Result<Reply, Fault> {
        Err(Fault::new("boom"))
    }

    pub(crate) async fn same(&self, team: Team) -> Result<Team, Fault> {
        Ok(team)
    }

    pub(crate) fn meta(&self, call: &mut Call, args: Args) -> Result<Reply, Fault> {
        let value = call.metadata().pairs().find("k").unwrap_or_default().to_vec();
        call.reply_metadata().set("back", value);
        Ok(Reply { c: args.a })
    }

    pub(crate) async fn sleep(&self, args: Args) -> Result<Reply, Fault> {
        tokio::time::sleep(Duration::from_millis(args.a.try_into()?)).await;
        Ok(Reply { c: args.a })
    }

    pub(crate) async fn push(&self, call: &mut Call, args: Args) -> Result<Reply, Fault> {
        for number in 1..=args.a {
            let message = "!".repeat(number.try_into()?);
            call.pusher().push("news", "flash", CodecId::RAW, &message)?;
        }
        Ok(Reply { c: args.a })
    }

    #[rpc(name = "Panic")]
    pub(crate) fn goes_wrong(&self, _: Args) -> Result<Reply, Fault> {
        panic!("at the disco")
    }

    pub(crate) async fn panic_later(&self, _: Args) -> Result<Reply, Fault> {
        tokio::task::yield_now().await;
        panic!("in the {}", "end")
    }

    pub(crate) fn large(&self, args: Args) -> Result<Vec<u8>, Fault> {
        Ok(vec![b'x'; args.a.try_into()?])
    }
}

pub(crate) struct Raw;

#[service]
impl Raw {
    pub(crate) fn upper(&self, bytes: Vec<u8>) -> Result<Vec<u8>, Fault> {
        Ok(bytes.to_ascii_uppercase())
    }
}

#[message(protobuf)]
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StringValue {
    #[prost(string, tag = "1")]
    pub(crate) value: String,
}

pub(crate) struct Proto;

#[service]
impl Proto {
    pub(crate) fn double(&self, text: StringValue) -> Result<StringValue, Fault> {
        Ok(StringValue { value: text.value.repeat(2) })
    }
}

/// Sends back what it gets; for configs.
#[derive(hemi_rpc::serde::Deserialize, Explain, Component)]
#[serde(crate = "hemi_rpc::serde")]
pub(crate) struct Echoes {}

#[service]
impl Echoes {
    pub(crate) fn echo(&self, payload: RawPayload) -> Result<RawPayload, Fault> {
        Ok(payload)
    }
}
