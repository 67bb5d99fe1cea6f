//! Connections of TCP, as they were captured: files of libpcap, packets, and streams of bytes in their order.
//!
//! What is captured may be cut, lost, repeated and out of order: nothing of that is an error but a file that is none.

mod order;
mod packet;
mod pcap;

#[cfg(test)]
mod tests;

pub use self::order::{Order, Piece};
pub use self::packet::{Link, Segment, segment};
pub use self::pcap::{Decoded, File, Packet, PcapError};
