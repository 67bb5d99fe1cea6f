//! Blocks of addresses read the same after they were written; a map of them finds the smallest one around
//! an address, as a look at each of them does.
#![no_main]

use std::net::IpAddr;

use hemi_proto::cidr::{Cidr, CidrMap};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let blocks: Vec<Cidr> = text.lines().filter_map(|line| line.parse().ok()).collect();
    for block in &blocks {
        assert_eq!(block.to_string().parse(), Ok(*block));
        assert!(block.contains(block.base()));
    }
    let map = CidrMap::new(blocks.iter().map(|block| (*block, *block)));
    let bases = blocks.iter().map(Cidr::base);
    let addresses: Vec<IpAddr> = bases.chain(text.lines().filter_map(|l| l.parse().ok())).collect();
    for address in addresses {
        let found = map.get(address);
        assert_eq!(found.is_some(), blocks.iter().any(|block| block.contains(address)));
        let Some(found) = found else { continue };
        assert!(found.contains(address));
        for block in blocks.iter().filter(|block| block.contains(address)) {
            // Of two blocks around an address one is in the other.
            assert!(block.contains(found.base()), "{found} is not in {block}");
        }
    }
});
