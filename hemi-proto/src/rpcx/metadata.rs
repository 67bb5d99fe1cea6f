//! Metadata: pairs of key and value.

/// Metadata as it came: pairs that are known to be whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pairs<'a>(&'a [u8]);

impl<'a> Pairs<'a> {
    /// None at all.
    pub const NONE: Self = Self(&[]);

    /// Takes a block of metadata; `None` if its last pair is cut.
    #[must_use]
    pub fn new(block: &'a [u8]) -> Option<Self> {
        let mut rest = block;
        while !rest.is_empty() {
            (_, rest) = split(split(rest)?.1)?;
        }
        Some(Self(block))
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// All of them, in the order in which they came.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (key, after) = split(rest)?;
            let (value, after) = split(after)?;
            rest = after;
            Some((key, value))
        })
    }

    /// The value of this key: the last one, if there are several.
    #[must_use]
    pub fn find(self, key: &str) -> Option<&'a [u8]> {
        self.iter().filter(|(k, _)| *k == key.as_bytes()).last().map(|(_, value)| value)
    }

    /// The same as text; `None` if it is not UTF-8.
    #[must_use]
    pub fn text(self, key: &str) -> Option<&'a str> {
        std::str::from_utf8(self.find(key)?).ok()
    }

    /// Bytes that they take, with their lengths.
    #[must_use]
    pub fn size(self) -> usize {
        self.0.len()
    }

    pub(crate) fn block(self) -> &'a [u8] {
        self.0
    }
}

/// Takes what stands behind a length.
pub(crate) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)
}

/// Metadata of one's own, to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(Vec<u8>);

impl Metadata {
    /// None at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets the value of a key, in the place of what it had. Lengths from 4 GiB on are cut.
    pub fn set(&mut self, key: &str, value: impl AsRef<[u8]>) {
        if self.pairs().find(key).is_some() {
            let others = std::mem::take(self);
            for (k, v) in others.pairs().iter().filter(|(k, _)| *k != key.as_bytes()) {
                self.push(k, v);
            }
        }
        self.push(key.as_bytes(), value.as_ref());
    }

    fn push(&mut self, key: &[u8], value: &[u8]) {
        for part in [key, value] {
            let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
            self.0.extend_from_slice(&len.to_be_bytes());
            self.0.extend_from_slice(part.get(..len as usize).unwrap_or(part));
        }
    }

    /// The value of a key as text, if it has one.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.pairs().text(key)
    }

    /// All of them.
    #[must_use]
    pub fn pairs(&self) -> Pairs<'_> {
        Pairs(&self.0)
    }
}

impl From<Pairs<'_>> for Metadata {
    fn from(pairs: Pairs<'_>) -> Self {
        Self(pairs.0.to_vec())
    }
}
