//! Ids of connections that say which core knows the connection.

use quinn::{ConnectionId, ConnectionIdGenerator};

/// Bytes of an id: two that name the core, then random ones.
const LEN: usize = 8;
const RANDOM: usize = LEN - 2;

/// Ids fetched from the random generator in one go.
const BATCH: usize = 32;

/// Makes the ids of one core.
pub(super) struct CoreIds {
    core: [u8; 2],
    random: [u8; RANDOM * BATCH],
    used: usize,
}

impl CoreIds {
    pub(super) fn new(core: usize) -> Self {
        let core = (core as u16).to_be_bytes();
        Self { core, random: [0; RANDOM * BATCH], used: BATCH }
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
        id[..2].copy_from_slice(&self.core);
        id[2..].copy_from_slice(random);
        ConnectionId::new(&id)
    }

    fn cid_len(&self) -> usize {
        LEN
    }

    fn cid_lifetime(&self) -> Option<std::time::Duration> {
        None
    }
}

/// The core that the id in a datagram names, if it is one of those made here: others are chosen by clients,
/// for the first datagrams of a connection (RFC 9000 section 7.2).
pub(super) fn core_of(datagram: &[u8]) -> Option<usize> {
    let (&first, rest) = datagram.split_first()?;
    let id = if first & 0x80 == 0 {
        rest
    } else {
        // Of long headers only Handshake packets surely have ours (RFC 9000 section 17.2.4).
        let (version, rest) = rest.split_at_checked(4)?;
        let is_handshake = first & 0x30 == 0x20 && version == [0, 0, 0, 1];
        let (&len, id) = rest.split_first()?;
        if !is_handshake || usize::from(len) != LEN {
            return None;
        }
        id
    };
    let id = id.get(..LEN)?;
    Some(usize::from(u16::from_be_bytes([id[0], id[1]])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_find_their_core() {
        let mut ids = CoreIds::new(259);
        let (one, other) = (ids.generate_cid(), ids.generate_cid());
        assert_ne!(one, other);
        let short = [&[0x40][..], &one, &[1, 2, 3]].concat();
        let handshake = [&[0xe0, 0, 0, 0, 1, 8][..], &one, &[0]].concat();
        let initial = [&[0xc0, 0, 0, 0, 1, 8][..], &one, &[0]].concat();
        assert_eq!(core_of(&short), Some(259));
        assert_eq!(core_of(&handshake), Some(259));
        for other in [&initial[..], &short[..8], &handshake[..12], &[0xe0, 0, 0], &[]] {
            assert_eq!(core_of(other), None);
        }
    }
}
