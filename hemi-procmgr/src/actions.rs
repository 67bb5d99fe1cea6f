//! The actions of the command line, one file each.

pub(crate) mod advise;
pub(crate) mod ask;
pub(crate) mod cert;
pub(crate) mod check;
pub(crate) mod dump;
pub(crate) mod explain;
pub(crate) mod fmt;
pub(crate) mod manual;
pub(crate) mod rpc;
pub(crate) mod serve;
pub(crate) mod top;
