//! What a client's end masks its frames with (RFC 6455, 5.3).

/// Random bytes, fetched for many frames at once.
#[derive(Debug)]
pub(super) struct Masks {
    random: [u8; 256],
    used: usize,
}

impl Default for Masks {
    fn default() -> Self {
        Self { random: [0; 256], used: 256 }
    }
}

impl Masks {
    pub(super) fn next(&mut self) -> [u8; 4] {
        if self.used == self.random.len() {
            // Without randomness they are the old ones: no browser is at this end, whose pages could make use
            // of knowing them.
            let _ = getrandom::fill(&mut self.random);
            self.used = 0;
        }
        let mask = self.random.get(self.used..).and_then(|rest| rest.first_chunk());
        self.used += 4;
        mask.copied().unwrap_or_default()
    }
}
