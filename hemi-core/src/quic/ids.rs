//! Ids of connections that say which process, and which of its cores, knows the connection.

use quinn::{ConnectionId, ConnectionIdGenerator};

/// Bytes of an id: two that name the core, four that name the process, then random ones.
const LEN: usize = 12;
const RANDOM: usize = LEN - 6;

/// Ids fetched from the random generator in one go.
const BATCH: usize = 32;

/// Where a connection is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) process: u32,
    pub(super) core: u16,
}

impl Home {
    pub(super) fn core(self) -> usize {
        usize::from(self.core)
    }
}

/// Makes the ids of one core.
pub(super) struct CoreIds {
    home: [u8; LEN - RANDOM],
    random: [u8; RANDOM * BATCH],
    used: usize,
}

impl CoreIds {
    pub(super) fn new(Home { process, core }: Home) -> Self {
        let mut home = [0; LEN - RANDOM];
        home[..2].copy_from_slice(&core.to_be_bytes());
        home[2..].copy_from_slice(&process.to_be_bytes());
        Self { home, random: [0; RANDOM * BATCH], used: BATCH }
    }
}

impl ConnectionIdGenerator for CoreIds {
    fn generate_cid(&mut self) -> ConnectionId {
        if self.used == BATCH {
            // Without randomness ids are the old ones: those in use are not given out twice.
            let _ = aws_lc_rs::rand::fill(&mut self.random);
            self.used = 0;
        }
        let random = &self.random[self.used * RANDOM..][..RANDOM];
        self.used += 1;
        let mut id = [0; LEN];
        id[..LEN - RANDOM].copy_from_slice(&self.home);
        id[LEN - RANDOM..].copy_from_slice(random);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        LEN
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// What the id in a datagram says, if it is one of those made here. Clients choose others for their first
/// datagrams (RFC 9000 section 7.2); that one of those names a process that lives is as good as impossible.
pub(super) fn home_of(datagram: &[u8]) -> Option<Home> {
    let (&first, rest) = datagram.split_first()?;
    let id = if first & 0x80 == 0 {
        rest
    } else {
        // Behind the version (RFC 8999 section 5.1).
        let (&len, id) = rest.get(4..)?.split_first()?;
        if usize::from(len) != LEN {
            return None;
        }
        id
    };
    let id = id.first_chunk::<LEN>()?;
    let (core, process) = (u16::from_be_bytes([id[0], id[1]]), [id[2], id[3], id[4], id[5]]);
    Some(Home { process: u32::from_be_bytes(process), core })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_find_their_home() {
        let home = Home { process: 0x0102_0304, core: 259 };
        let mut ids = CoreIds::new(home);
        let (one, other) = (ids.generate_cid(), ids.generate_cid());
        assert_ne!(one, other);
        let short = [&[0x40][..], &one, &[1, 2, 3]].concat();
        let handshake = [&[0xe0, 0, 0, 0, 1, 12][..], &one, &[0]].concat();
        assert_eq!(home_of(&short), Some(home));
        assert_eq!(home_of(&handshake), Some(home));
        let others_length = [&[0xc0, 0, 0, 0, 1, 8][..], &one, &[0]].concat();
        for other in [&others_length[..], &short[..12], &handshake[..17], &[0xe0, 0, 0], &[]] {
            assert_eq!(home_of(other), None);
        }
    }
}
