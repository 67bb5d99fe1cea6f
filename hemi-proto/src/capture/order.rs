//! One direction of a connection of TCP: its bytes in their order, as far as they were captured.

/// Bytes that are kept until those before them come, at most, and segments of them.
const HELD: (usize, usize) = (1 << 20, 256);

/// What its sender sends.
#[derive(Debug, Default)]
pub struct Order {
    /// The number of the next byte, once one is known.
    next: Option<u32>,
    /// What came too early.
    held: Vec<(u32, Vec<u8>)>,
    bytes: usize,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// These bytes.
    Bytes(&'a [u8]),
    /// So many that were not captured.
    Lost(usize),
}

impl Order {
    /// Takes a segment, as it is captured: its number, whether it begins the direction, what it carries, and bytes of that
    /// which are not there. Pieces are passed on as soon as they are known to be next.
    pub fn push(
        &mut self,
        seq: u32,
        syn: bool,
        (payload, missing): (&[u8], usize),
        mut take: impl FnMut(Piece<'_>),
    ) {
        if syn {
            // The numbers of what comes begin behind it, and what there was before is another connection's.
            *self = Self { next: Some(seq.wrapping_add(1)), ..Self::default() };
            return;
        }
        let next = *self.next.get_or_insert(seq);
        match ahead(seq, next) {
            0 if !payload.is_empty() || missing > 0 => {
                self.pass(payload, &mut take);
                self.skip(missing, &mut take);
            }
            // Those that were there already are repeated; maybe there are more behind them.
            behind @ i32::MIN..0 => {
                let known = behind.unsigned_abs() as usize;
                if let Some(more) = payload.get(known..).filter(|more| !more.is_empty()) {
                    self.pass(more, &mut take);
                }
            }
            _ if payload.is_empty() => {}
            _ => {
                self.bytes += payload.len();
                self.held.push((seq, payload.to_vec()));
            }
        }
        self.catch_up(&mut take);
        while self.bytes > HELD.0 || self.held.len() > HELD.1 {
            self.give_up(&mut take);
        }
    }

    /// Nothing more comes: what is missing is lost.
    pub fn finish(&mut self, mut take: impl FnMut(Piece<'_>)) {
        while !self.held.is_empty() {
            self.give_up(&mut take);
        }
    }

    fn pass(&mut self, bytes: &[u8], take: &mut impl FnMut(Piece<'_>)) {
        self.next = self.next.map(|next| next.wrapping_add(bytes.len() as u32));
        if !bytes.is_empty() {
            take(Piece::Bytes(bytes));
        }
    }

    fn skip(&mut self, bytes: usize, take: &mut impl FnMut(Piece<'_>)) {
        self.next = self.next.map(|next| next.wrapping_add(bytes as u32));
        if bytes > 0 {
            take(Piece::Lost(bytes));
        }
    }

    /// Passes on what came too early, and is next now.
    fn catch_up(&mut self, take: &mut impl FnMut(Piece<'_>)) {
        while let Some(next) = self.next
            && let Some(at) = self.held.iter().position(|(seq, _)| ahead(*seq, next) <= 0)
        {
            let (seq, bytes) = self.held.swap_remove(at);
            self.bytes -= bytes.len();
            let known = ahead(seq, next).unsigned_abs() as usize;
            self.pass(bytes.get(known..).unwrap_or_default(), take);
        }
    }

    /// Takes what is missing as lost.
    fn give_up(&mut self, take: &mut impl FnMut(Piece<'_>)) {
        let Some(next) = self.next else { return };
        let first = self.held.iter().map(|(seq, _)| ahead(*seq, next)).min();
        let Some(lost) = first else { return };
        self.skip(lost.unsigned_abs() as usize, take);
        self.catch_up(take);
    }
}

/// How far a number is ahead of another, as they wrap around.
fn ahead(seq: u32, next: u32) -> i32 {
    seq.wrapping_sub(next).cast_signed()
}
