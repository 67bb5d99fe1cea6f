//! Contents that stay in memory, with the compressed form of each.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

/// Where the original lies, and its length. As long as it is held nothing else lies there.
type Key = (usize, usize);

/// Compressed forms of one core.
pub(super) struct Forms {
    entries: HashMap<Key, Entry, foldhash::quality::RandomState>,
    /// The next to be thrown out first.
    order: VecDeque<Key>,
    bytes: u64,
    /// Bytes of originals and forms, at most.
    most: u64,
}

struct Entry {
    original: Bytes,
    form: Bytes,
    /// Was asked for since it was last considered for throwing out.
    used: bool,
}

impl Entry {
    fn weight(&self) -> u64 {
        (self.original.len() + self.form.len()) as u64
    }
}

fn key(original: &Bytes) -> Key {
    (original.as_ptr() as usize, original.len())
}

impl Forms {
    pub(super) fn new(most: u64) -> Self {
        Self { entries: HashMap::default(), order: VecDeque::new(), bytes: 0, most }
    }

    /// The form of these very bytes: not of equal ones elsewhere.
    pub(super) fn find(&mut self, original: &Bytes) -> Option<Bytes> {
        let entry = self.entries.get_mut(&key(original))?;
        entry.used = true;
        Some(entry.form.clone())
    }

    /// Keeps a form, in the place of those that were there longest and not asked for lately.
    pub(super) fn keep(&mut self, original: Bytes, form: Bytes) {
        let entry = Entry { original, form, used: false };
        let key = key(&entry.original);
        if entry.weight() > self.most || self.entries.contains_key(&key) {
            return;
        }
        self.bytes += entry.weight();
        self.entries.insert(key, entry);
        self.order.push_back(key);
        while self.bytes > self.most {
            self.throw_one_out();
        }
    }

    fn throw_one_out(&mut self) {
        let Some(key) = self.order.pop_front() else { return };
        match self.entries.get_mut(&key) {
            // Of bytes that nobody else holds any more nobody will ask.
            Some(entry) if entry.used && !entry.original.is_unique() => {
                entry.used = false;
                self.order.push_back(key);
            }
            _ => self.bytes -= self.entries.remove(&key).map_or(0, |entry| entry.weight()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(byte: u8) -> Bytes {
        vec![byte; 60].into()
    }

    #[test]
    fn the_same_bytes_are_found_and_equal_ones_are_not() {
        let mut forms = Forms::new(1000);
        let (one, other) = (bytes(1), bytes(1));
        forms.keep(one.clone(), "form".into());
        assert_eq!(forms.find(&one), Some("form".into()));
        assert_eq!(forms.find(&other), None);
        assert_eq!(forms.find(&one.slice(..59)), None);
    }

    #[test]
    fn no_more_is_kept_than_allowed_and_what_is_asked_for_stays() {
        let mut forms = Forms::new(300);
        let originals: Vec<_> = (0..6).map(bytes).collect();
        for original in &originals {
            forms.keep(original.clone(), vec![0; 40].into());
            forms.find(&originals[0]);
            assert!(forms.bytes <= 300);
        }
        let kept: Vec<_> = (0..6).filter(|i| forms.find(&originals[*i]).is_some()).collect();
        assert_eq!((kept, forms.bytes, forms.order.len()), (vec![0, 4, 5], 300, 3));
        forms.keep(vec![0; 301].into(), Bytes::new());
        assert_eq!(forms.entries.len(), 3);
    }

    #[test]
    fn what_nobody_else_holds_goes_first() {
        let mut forms = Forms::new(200);
        let (kept, gone) = (bytes(1), bytes(2));
        forms.keep(gone.clone(), vec![0; 40].into());
        forms.keep(kept.clone(), vec![0; 40].into());
        forms.find(&gone);
        forms.find(&kept);
        drop(gone);
        forms.keep(bytes(3), vec![0; 40].into());
        assert!(forms.find(&kept).is_some());
    }
}
