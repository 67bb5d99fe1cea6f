//! Connections of QUIC as somebody knows them who has none of their keys: by the ids that their nodes have chosen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hemi_proto::client_hello::ClientHello;
use hemi_proto::quic_head::{LONGEST_ID, QuicHead};

/// Bytes that an id has in common with another one of its node, at least. Shorter ids tell nothing.
const ALIKE: usize = 4;

/// Ids of a connection that are kept, at most: a node chooses one, and others before that if it has the client try
/// again, one for each datagram that it does so for.
const KEPT: usize = 8;

/// An id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    bytes: [u8; LONGEST_ID],
    len: u8,
}

/// The connections of a router, which its cores share: who is in no session of a core may be of one of another core.
#[derive(Debug, Default)]
pub(crate) struct Conns(Mutex<BTreeMap<Id, Weak<Conn>>>);

/// A connection, by whatever ways its client comes.
#[derive(Debug)]
pub(crate) struct Conn {
    all: Arc<Conns>,
    /// The id that the client has begun with.
    first: Id,
    /// What the client has said first, if somebody wanted to know.
    pub(crate) hello: Option<Arc<ClientHello>>,
    /// The node, by [`hemi_core::backend::Endpoint::id`].
    pub(crate) node: u64,
    /// Those that the node has chosen.
    chosen: Mutex<Vec<Id>>,
}

impl Id {
    /// Of the first of these bytes, if there are more than an id has.
    pub(crate) fn new(of: &[u8]) -> Self {
        let len = of.len().min(LONGEST_ID);
        let mut bytes = [0; LONGEST_ID];
        bytes[..len].copy_from_slice(&of[..len]);
        Self { bytes, len: len as u8 }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Whether a packet is to it.
    pub(crate) fn is_of(&self, head: &QuicHead<'_>) -> bool {
        match head {
            QuicHead::Long { to, .. } => self.as_bytes() == *to,
            QuicHead::Short { to } => to.starts_with(self.as_bytes()),
        }
    }

    /// How many of its first bytes are the same.
    fn common(&self, other: &Self) -> usize {
        let both = self.as_bytes().iter().zip(other.as_bytes());
        both.take_while(|(one, other)| one == other).count()
    }
}

impl Conns {
    /// The connection that a packet is of; or, if its id is unknown, one of the same node, as far as that tells.
    pub(crate) fn find(&self, head: &QuicHead<'_>) -> Option<Arc<Conn>> {
        let (known, id) = (self.known(), Id::new(head.to()));
        if matches!(head, QuicHead::Long { .. }) {
            return known.get(&id)?.upgrade();
        }
        let (below, above) = (known.range(..=id).next_back(), known.range(id..).next());
        let alike = [below, above].into_iter().flatten();
        let alike = alike.map(|(other, conn)| (other.common(&id), conn));
        let best = alike.filter(|(common, _)| *common >= ALIKE).max_by_key(|(common, _)| *common);
        best?.1.upgrade()
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Id, Weak<Conn>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Conn {
    /// One that begins with this id.
    pub(crate) fn new(
        all: &Arc<Conns>,
        first: Id,
        hello: Option<Arc<ClientHello>>,
        node: u64,
    ) -> Arc<Self> {
        Arc::new(Self { all: all.clone(), first, hello, node, chosen: Mutex::default() })
    }

    /// Notes what is told by a packet of the node.
    pub(crate) fn learn(self: &Arc<Self>, head: &QuicHead<'_>) {
        let QuicHead::Long { version, from, .. } = head else { return };
        if *version == 0 || from.len() < ALIKE {
            return;
        }
        let (id, mut chosen) = (Id::new(from), self.chosen());
        if chosen.contains(&id) {
            return;
        }
        let mut known = self.all.known();
        if chosen.len() >= KEPT {
            // The client goes by the first of those that it was to try again with, and then by the last of all.
            self.forget(&mut known, &chosen.remove(1));
        }
        chosen.push(id);
        known.insert(id, Arc::downgrade(self));
    }

    /// Has an id be unknown, unless another connection has the same one by now.
    fn forget(&self, known: &mut BTreeMap<Id, Weak<Self>>, id: &Id) {
        if known.get(id).is_some_and(|conn| std::ptr::eq(conn.as_ptr(), self)) {
            known.remove(id);
        }
    }

    /// Whether a packet is for it by an id that was seen before.
    pub(crate) fn knows(&self, head: &QuicHead<'_>) -> bool {
        self.is_chosen(head) || head.to() == self.first.as_bytes()
    }

    /// The same by one that the node has chosen: who sends it has seen what the node has sent.
    pub(crate) fn is_chosen(&self, head: &QuicHead<'_>) -> bool {
        self.chosen().iter().any(|id| id.is_of(head))
    }

    /// How many bytes ids of the node have.
    pub(crate) fn id_len(&self) -> Option<usize> {
        self.chosen().last().map(|id| usize::from(id.len))
    }

    fn chosen(&self) -> MutexGuard<'_, Vec<Id>> {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        let chosen = std::mem::take(&mut *self.chosen());
        let mut known = self.all.known();
        chosen.iter().for_each(|id| self.forget(&mut known, id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long<'a>(to: &'a [u8], from: &'a [u8]) -> QuicHead<'a> {
        QuicHead::Long { version: 1, to, from }
    }

    #[test]
    fn connections_are_found_by_what_their_nodes_have_chosen() {
        let all = Arc::new(Conns::default());
        let [one, two] = [1, 2].map(|node| Conn::new(&all, Id::new(b"firstone"), None, node));
        one.learn(&long(b"c", b"node1-aaaa"));
        two.learn(&long(b"c", b"node2-bbbb"));
        // Too short, and none at all.
        two.learn(&long(b"c", b"abc"));
        two.learn(&QuicHead::Long { version: 0, to: b"c", from: b"version" });
        let node = |to: &[u8]| all.find(&QuicHead::Short { to }).map(|conn| conn.node);
        assert_eq!(node(b"node1-aaaa and the rest"), Some(1));
        // Of the same nodes.
        assert_eq!(node(b"node1-zzzz and the rest"), Some(1));
        assert_eq!(node(b"node2-aaaa and the rest"), Some(2));
        assert_eq!(node(b"nobody's"), None);
        assert_eq!(node(b"abc"), None);
        let by_long = |to| all.find(&long(to, b"")).map(|conn| conn.node);
        assert_eq!((by_long(b"node2-bbbb"), by_long(b"node2-bbbc")), (Some(2), None));
        assert!(one.knows(&long(b"firstone", b"")) && !one.is_chosen(&long(b"firstone", b"")));
        assert!(one.is_chosen(&QuicHead::Short { to: b"node1-aaaa..." }));
        assert!(!one.knows(&QuicHead::Short { to: b"node1-aaa" }));
        assert_eq!(two.id_len(), Some(10));
        drop(one);
        assert_eq!(node(b"node1-aaaa"), Some(2), "they have four bytes in common");
        drop(two);
        assert_eq!(node(b"node2-bbbb"), None);
        assert!(all.known().is_empty());
    }

    #[test]
    fn so_many_ids_are_kept_and_an_id_is_of_the_last_that_has_it() {
        let all = Arc::new(Conns::default());
        let one = Conn::new(&all, Id::new(b""), None, 1);
        (0..100u8).for_each(|n| one.learn(&long(b"", &[n; 8])));
        assert_eq!(all.known().len(), KEPT);
        assert!([0, 99].iter().all(|n| one.is_chosen(&long(&[*n; 8], b""))));
        assert!(!one.is_chosen(&long(&[1; 8], b"")));
        let two = Conn::new(&all, Id::new(b""), None, 2);
        two.learn(&long(b"", &[0; 8]));
        drop(one);
        assert_eq!(all.known().len(), 1);
        assert_eq!(all.find(&long(&[0; 8], b"")).map(|conn| conn.node), Some(2));
    }
}
