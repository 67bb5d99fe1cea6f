//! Blocks of IP addresses (RFC 4632), and maps from addresses to what the smallest block around them has.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use thiserror::Error;

/// All addresses that begin with the same bits: `10.0.0.0/8`, `2001:db8::/32`; or a single address.
///
/// IPv4 addresses in IPv6 (`::ffff:10.0.0.1`) are IPv4 addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    base: IpAddr,
    bits: u8,
}

/// Why a text is no block of addresses.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum CidrError {
    /// There is no IP address before the slash.
    #[error(
        "\"{0}\" is not an IP address: write \"10.1.2.3\", \"10.0.0.0/8\" or \"2001:db8::/32\""
    )]
    Address(String),
    /// The length is no number, or more than an address has bits.
    #[error("\"{0}\" has a bad length: 0 to 32 for IPv4, 0 to 128 for IPv6")]
    Length(String),
    /// There are bits set behind the length.
    #[error("the block \"{given}\" begins at {base}: write \"{base}/{bits}\"")]
    NotTheFirst {
        /// What was given.
        given: String,
        /// The first address of the block.
        base: IpAddr,
        /// Its length.
        bits: u8,
    },
}

impl Cidr {
    /// All IPv4 addresses.
    pub const ALL_V4: Self = Self { base: IpAddr::V4(Ipv4Addr::UNSPECIFIED), bits: 0 };
    /// All IPv6 addresses.
    pub const ALL_V6: Self = Self { base: IpAddr::V6(Ipv6Addr::UNSPECIFIED), bits: 0 };

    /// Whether the address is in the block.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                (u32::from(base) ^ u32::from(address)) & mask_v4(self.bits) == 0
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                (u128::from(base) ^ u128::from(address)) & mask_v6(self.bits) == 0
            }
            _ => false,
        }
    }

    /// The block of this length that an address is in; lengths beyond that of the address are its own.
    pub fn around(address: IpAddr, bits: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let base = u32::from(address) & mask_v4(bits);
                Self { base: Ipv4Addr::from(base).into(), bits: bits.min(32) }
            }
            IpAddr::V6(address) => {
                let base = u128::from(address) & mask_v6(bits);
                Self { base: Ipv6Addr::from(base).into(), bits: bits.min(128) }
            }
        }
    }

    /// Its first address.
    pub fn base(&self) -> IpAddr {
        self.base
    }
}

/// So many ones, at most 32, then zeros.
fn mask_v4(bits: u8) -> u32 {
    u32::MAX.checked_shl(32u32.saturating_sub(bits.into())).unwrap_or(0)
}

/// So many ones, at most 128, then zeros.
fn mask_v6(bits: u8) -> u128 {
    u128::MAX.checked_shl(128u32.saturating_sub(bits.into())).unwrap_or(0)
}

impl From<IpAddr> for Cidr {
    fn from(address: IpAddr) -> Self {
        Self::around(address, 128)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let given: IpAddr = address.parse().map_err(|_| CidrError::Address(text.to_owned()))?;
        let Some(length) = length else { return Ok(given.into()) };
        let most = if given.is_ipv4() { 32 } else { 128 };
        let digits = Some(length).filter(|l| l.bytes().all(|b| b.is_ascii_digit()));
        let bits = digits.and_then(|digits| digits.parse().ok()).filter(|bits| *bits <= most);
        let bits: u8 = bits.ok_or_else(|| CidrError::Length(text.to_owned()))?;
        let mapped = given.is_ipv6() && given.to_canonical().is_ipv4();
        let cidr = match mapped {
            true if bits < 96 => return Err(CidrError::Length(text.to_owned())),
            true => Self::around(given, bits - 96),
            false => Self::around(given, bits),
        };
        if cidr.base != given.to_canonical() {
            let Self { base, bits } = cidr;
            return Err(CidrError::NotTheFirst { given: text.to_owned(), base, bits });
        }
        Ok(cidr)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.base, self.bits) {
            (IpAddr::V4(_), 32) | (IpAddr::V6(_), 128) => self.base.fmt(f),
            (base, bits) => write!(f, "{base}/{bits}"),
        }
    }
}

/// What the smallest block around an address has: looked up in the logarithm of the number of blocks.
#[derive(Clone, Debug)]
pub struct CidrMap<T> {
    v4: Ranges<u32, T>,
    v6: Ranges<u128, T>,
}

impl<T: Clone> CidrMap<T> {
    /// Makes a map. Of two values for the same block the later one counts.
    pub fn new(blocks: impl IntoIterator<Item = (Cidr, T)>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for (Cidr { base, bits }, value) in blocks {
            match base {
                IpAddr::V4(base) => {
                    let base = u32::from(base);
                    v4.push(Block { first: base, last: base | !mask_v4(bits), value });
                }
                IpAddr::V6(base) => {
                    let base = u128::from(base);
                    v6.push(Block { first: base, last: base | !mask_v6(bits), value });
                }
            }
        }
        Self {
            v4: Ranges::new(v4, |at| at.checked_add(1)),
            v6: Ranges::new(v6, |at| at.checked_add(1)),
        }
    }

    /// The value of the smallest block that the address is in.
    pub fn get(&self, address: IpAddr) -> Option<&T> {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.get(u32::from(address)),
            IpAddr::V6(address) => self.v6.get(u128::from(address)),
        }
    }
}

struct Block<A, T> {
    first: A,
    last: A,
    value: T,
}

/// Ranges of numbers, each from its start to that of the next.
#[derive(Clone, Debug)]
struct Ranges<A, T> {
    starts: Vec<A>,
    values: Vec<Option<T>>,
}

impl<A: Copy + Ord, T: Clone> Ranges<A, T> {
    fn new(mut blocks: Vec<Block<A, T>>, after: impl Fn(A) -> Option<A>) -> Self {
        // Outer blocks before those in them; of equal ones the later stays later.
        blocks.sort_by(|a, b| a.first.cmp(&b.first).then(b.last.cmp(&a.last)));
        let mut ranges = Self { starts: Vec::new(), values: Vec::new() };
        let mut around: Vec<Block<A, T>> = Vec::new();
        for block in blocks {
            ranges.close(&mut around, Some(block.first), &after);
            ranges.begin(block.first, Some(block.value.clone()));
            around.push(block);
        }
        ranges.close(&mut around, None, &after);
        ranges
    }

    /// Ends those of the blocks that end before `next`; all of them without one.
    fn close(
        &mut self,
        around: &mut Vec<Block<A, T>>,
        next: Option<A>,
        after: &impl Fn(A) -> Option<A>,
    ) {
        while let Some(ended) = around.pop_if(|block| next.is_none_or(|next| block.last < next)) {
            if let Some(start) = after(ended.last) {
                self.begin(start, around.last().map(|outer| outer.value.clone()));
            }
        }
    }

    fn begin(&mut self, start: A, value: Option<T>) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.values.pop();
        }
        self.starts.push(start);
        self.values.push(value);
    }

    fn get(&self, at: A) -> Option<&T> {
        let next = self.starts.partition_point(|start| *start <= at);
        self.values.get(next.checked_sub(1)?)?.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        text.parse().unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn texts_and_blocks() {
        for (text, shown) in [
            ("10.1.2.3", "10.1.2.3"),
            ("10.1.2.3/32", "10.1.2.3"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("2001:DB8::/32", "2001:db8::/32"),
            ("::1/128", "::1"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(cidr(text).to_string(), shown, "{text}");
        }
        for (text, why) in [
            ("", "is not an IP address"),
            ("10.1.2", "is not an IP address"),
            ("shop.test", "is not an IP address"),
            ("[::1]", "is not an IP address"),
            ("10.1.2.3 ", "is not an IP address"),
            ("/8", "is not an IP address"),
            ("10.0.0.0/", "has a bad length"),
            ("10.0.0.0/33", "has a bad length"),
            ("10.0.0.0/+8", "has a bad length"),
            ("10.0.0.0/8/8", "has a bad length"),
            ("10.0.0.0/256", "has a bad length"),
            ("::/129", "has a bad length"),
            ("::ffff:0:0/95", "has a bad length"),
            ("10.1.2.3/8", "write \"10.0.0.0/8\""),
            ("2001:db8::1/64", "write \"2001:db8::/64\""),
            ("::ffff:10.1.0.0/104", "write \"10.0.0.0/8\""),
        ] {
            let error = text.parse::<Cidr>().expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn blocks_hold_their_addresses() {
        for (block, address, inside) in [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "1.2.3.4", false),
            ("::/0", "::ffff:1.2.3.4", false),
            ("::/0", "ffff::", true),
            ("2001:db8::/33", "2001:db8:7fff::", true),
            ("2001:db8::/33", "2001:db8:8000::", false),
            ("1.2.3.4", "1.2.3.4", true),
            ("1.2.3.4", "1.2.3.5", false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(cidr(block).contains(address), inside, "{block} {address}");
        }
    }

    #[test]
    fn the_smallest_block_decides() {
        let map = CidrMap::new(
            [
                ("10.0.0.0/8", 1),
                ("10.1.0.0/16", 2),
                ("10.1.0.0/24", 3),
                ("10.1.1.0/24", 4),
                ("10.255.255.255", 5),
                ("255.255.255.255", 6),
                ("10.0.0.0/8", 7),
                ("::/0", 8),
                ("2001:db8::/32", 9),
                ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 10),
            ]
            .map(|(block, value)| (cidr(block), value)),
        );
        for (address, value) in [
            ("9.255.255.255", None),
            ("10.0.0.0", Some(7)),
            ("10.1.0.0", Some(3)),
            ("10.1.0.255", Some(3)),
            ("10.1.1.0", Some(4)),
            ("10.1.2.0", Some(2)),
            ("::ffff:10.1.2.0", Some(2)),
            ("10.2.0.0", Some(7)),
            ("10.255.255.255", Some(5)),
            ("11.0.0.0", None),
            ("255.255.255.254", None),
            ("255.255.255.255", Some(6)),
            ("::", Some(8)),
            ("2001:db8::1", Some(9)),
            ("2001:db9::", Some(8)),
            ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some(10)),
        ] {
            assert_eq!(map.get(address.parse().unwrap()).copied(), value, "{address}");
        }
    }

    #[test]
    fn a_map_agrees_with_its_blocks() {
        // Numbers that look random and are always the same.
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state
        };
        let blocks: Vec<(Cidr, usize)> = (0..500)
            .map(|index| {
                let bits = (next() >> 24) % 33;
                (Cidr::around(Ipv4Addr::from(next() & 0x0f0f_ffff).into(), bits as u8), index)
            })
            .collect();
        let map = CidrMap::new(blocks.iter().copied());
        for _ in 0..5_000 {
            let address = IpAddr::from(Ipv4Addr::from(next() & 0x0f0f_ffff));
            let holding = blocks.iter().filter(|(block, _)| block.contains(address));
            let smallest = holding.max_by_key(|(block, index)| (block.bits, *index));
            assert_eq!(map.get(address), smallest.map(|(_, index)| index), "{address}");
        }
    }
}
