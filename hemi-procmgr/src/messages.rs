//! What a leader and its worker say to each other.

use std::io;
use std::net::SocketAddr;

use hemi_core::listen::{Address, Endpoint, ListenOptions};
use serde::{Deserialize, Serialize};

use crate::admin::Places;
use crate::control::{Refused, Report};

/// From the leader.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToWorker {
    /// Do something; [`ToLeader::Done`] answers.
    Do { id: u64, order: Order },
    /// The first: who it is, and the other workers. Its inbox, the other end of that, and those of theirs come
    /// along.
    Kin { kinship: Kinship, others: Vec<u32> },
    /// Answers [`ToLeader::Bind`]; the sockets come along.
    Bound { id: u64, bound: Result<Address, BindError> },
}

/// Something that a worker is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Order {
    /// Loads a config and serves it: this text, or what lies where the config comes from.
    Load { config: Option<String> },
    /// Tells of its stages.
    Report,
    /// Opens its log files anew.
    Reopen,
    /// Takes nothing new, which is when it is done; then drains and ends.
    Drain(Next),
    /// Ends at once.
    Stop,
}

/// What follows a worker that drains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Next {
    /// Another one, on the same sockets, which receives datagrams at these addresses.
    Worker { receives: Vec<SocketAddr> },
    /// None: the program ends.
    Nobody,
}

/// From a worker.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToLeader {
    /// The first; its journal comes along. A worker that had another leader says what it serves and who it
    /// is, and the other end of its inbox comes along.
    Hello { serves: Option<Loaded>, kinship: Option<Kinship> },
    /// It has these sockets, which come along, and shares them: behind `Hello`, if it had another leader.
    Holds { endpoint: Endpoint, address: Address },
    /// It has told of all of them.
    Held,
    /// It wants sockets; [`ToWorker::Bound`] answers.
    Bind { id: u64, endpoint: Endpoint, cores: usize, options: ListenOptions },
    /// It does not need those any more.
    Release { endpoint: Endpoint },
    /// All its cores are at work.
    Pulse,
    /// Answers [`ToWorker::Do`].
    Done { id: u64, outcome: Result<Outcome, Refused> },
}

/// What came of an order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Loaded(Loaded),
    Report(Box<Report>),
    Nothing,
}

/// A config that is served.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Loaded {
    /// The stage, counted from 1 in its worker.
    pub(crate) stage: u64,
    /// The text, with what it includes.
    pub(crate) config: String,
}

/// Who a worker is to those that it shares UDP sockets with.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Kinship {
    pub(crate) process: u32,
    /// The same for all of them.
    pub(crate) secret: [u8; 32],
}

/// Why sockets can't be bound.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BindError {
    /// Of the system.
    code: Option<i32>,
    message: String,
}

/// Between a leader and the process that started it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ToSuccessor {
    /// It is to detach from the terminal, and say when it serves.
    Detach,
    /// It is to take over the sockets that follow, until [`ToSuccessor::Held`]. The other ends of the inboxes
    /// of these workers come along, and the lock.
    Inherit {
        secret: [u8; 32],
        workers: Vec<u32>,
    },
    Holds {
        endpoint: Endpoint,
        address: Address,
    },
    Held,
    /// It leads from now on, and is asked at these places; the sockets of their ports came before, by
    /// [`ToSuccessor::Holds`]. Without this it gives up when the channel closes.
    Lead {
        places: Option<Places>,
    },
}

/// The answer to that.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromSuccessor {
    /// It listens: what does not say so is given nothing.
    Hears,
    /// Its worker serves, and receives datagrams at these addresses.
    Serves { receives: Vec<SocketAddr> },
    /// It leads, and can be asked.
    Leads,
    /// It does not serve, and ends.
    Failed(String),
}

impl From<io::Error> for BindError {
    fn from(e: io::Error) -> Self {
        Self { code: e.raw_os_error(), message: e.to_string() }
    }
}

impl From<BindError> for io::Error {
    fn from(e: BindError) -> Self {
        e.code.map_or_else(|| Self::other(e.message), Self::from_raw_os_error)
    }
}
