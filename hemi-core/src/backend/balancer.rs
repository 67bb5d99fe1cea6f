//! Which of the nodes that are fit gets the next request.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde::Deserialize;

use super::seat::Seat;
use crate::Explain;

/// How a backend spreads requests over its nodes.
///
/// Each core decides by what it has seen itself: with many requests that comes to the same, and costs
/// no core anything that another does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub enum Balancer {
    /// The better of two at random, by requests under way, times how long its answers take to come.
    #[default]
    P2c,
    /// One after the other, those with more weight more often, spread evenly ("smooth").
    RoundRobin,
    /// At random.
    Random,
    /// The one with the fewest requests under way, by its weight.
    #[serde(alias = "leastUsed")]
    LeastConn,
    /// The same one for the same client address.
    IpHash,
    /// The same one for the same key, as the component that asks has it; nearly so when one has a
    /// quarter more requests under way than the others.
    Hash,
}

/// What a node is chosen by.
#[derive(Clone, Copy, Debug, Default)]
pub struct By<'a> {
    /// The client's address.
    pub client: Option<IpAddr>,
    /// What requests that belong together have in common.
    pub key: Option<&'a [u8]>,
    /// The node that is to get it if that can be, by its [`super::Endpoint::id`].
    pub node: Option<u64>,
    /// Where the client is, to be told to the node if that is how it is spoken to.
    pub peer: Option<SocketAddr>,
    /// What the client has connected to, to be told as well.
    pub reached: Option<SocketAddr>,
}

/// How much more than its share a node may have to do before a key goes to another.
const OVERLOAD: f64 = 1.25;

/// Random numbers of a core; good enough to spread load, and cheap.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new() -> Self {
        Self(RandomState::new().hash_one(0) | 1)
    }

    /// From 0 up to 1.
    pub(super) fn roll(&mut self) -> f64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }
}

impl Balancer {
    /// Chooses one of `fit`, each with its weight now; none of none.
    pub(super) fn choose(
        self,
        fit: &[(Arc<Seat>, f64)],
        by: &By<'_>,
        dice: &mut Dice,
    ) -> Option<Arc<Seat>> {
        let key = match self {
            Self::IpHash => by.client.map(hash_ip),
            Self::Hash => by.key.map(hash),
            _ => None,
        };
        let seat = match (self, fit, key) {
            (_, [(only, _)], _) => only,
            (Self::RoundRobin, ..) => next_in_turn(fit)?,
            (Self::LeastConn, ..) => best(fit, |seat, weight| -seat.burden() / weight, dice)?,
            (Self::P2c, ..) => better_of_two(fit, dice)?,
            (Self::IpHash | Self::Hash, _, Some(key)) => of_key(fit, key)?,
            // What has no key goes anywhere.
            (Self::Random | Self::IpHash | Self::Hash, ..) => at_random(fit, dice)?,
        };
        Some(seat.clone())
    }
}

/// Smooth weighted round robin, as nginx does it.
fn next_in_turn(fit: &[(Arc<Seat>, f64)]) -> Option<&Arc<Seat>> {
    let total: f64 = fit.iter().map(|(_, weight)| weight).sum();
    let mut best: Option<(&Arc<Seat>, f64)> = None;
    for (seat, weight) in fit {
        let credit = seat.credit(*weight);
        if best.is_none_or(|(_, most)| credit > most) {
            best = Some((seat, credit));
        }
    }
    let (seat, _) = best?;
    seat.credit(-total);
    Some(seat)
}

/// The one with the highest score; of equals any.
fn best<'a>(
    fit: &'a [(Arc<Seat>, f64)],
    score: impl Fn(&Seat, f64) -> f64,
    dice: &mut Dice,
) -> Option<&'a Arc<Seat>> {
    let mut best: Option<(&Arc<Seat>, f64)> = None;
    let mut equals = 1.0;
    for (seat, weight) in fit {
        let score = score(seat, *weight);
        match best {
            Some((_, most)) if score < most => {}
            Some((_, most)) if score == most => {
                equals += 1.0;
                if dice.roll() * equals < 1.0 {
                    best = Some((seat, score));
                }
            }
            _ => {
                equals = 1.0;
                best = Some((seat, score));
            }
        }
    }
    best.map(|(seat, _)| seat)
}

fn better_of_two<'a>(fit: &'a [(Arc<Seat>, f64)], dice: &mut Dice) -> Option<&'a Arc<Seat>> {
    let one = at_random(fit, dice)?;
    let other = at_random(fit, dice)?;
    Some(if other.cost() < one.cost() { other } else { one })
}

fn at_random<'a>(fit: &'a [(Arc<Seat>, f64)], dice: &mut Dice) -> Option<&'a Arc<Seat>> {
    let total: f64 = fit.iter().map(|(_, weight)| weight).sum();
    let mut left = dice.roll() * total;
    for (seat, weight) in fit {
        left -= weight;
        if left < 0.0 {
            return Some(seat);
        }
    }
    fit.last().map(|(seat, _)| seat)
}

/// Rendezvous hashing: when a node goes, its keys alone go elsewhere. One that has more than its share to
/// do is passed over.
fn of_key(fit: &[(Arc<Seat>, f64)], key: u64) -> Option<&Arc<Seat>> {
    let score = |seat: &Seat, weight: f64| {
        let mixed = mix(key ^ seat.endpoint.hash);
        // From 0 up to 1, but never 0.
        let uniform = ((mixed >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        -weight / uniform.ln()
    };
    let burden: f64 = fit.iter().map(|(seat, _)| seat.burden()).sum();
    let total: f64 = fit.iter().map(|(_, weight)| weight).sum();
    let may_take = |seat: &Seat, weight: f64| {
        seat.active.load(Ordering::Relaxed) < 8
            || seat.burden() <= burden * OVERLOAD * weight / total
    };
    let scored = |all: bool| {
        let takers = fit.iter().filter(|(seat, weight)| all || may_take(seat, *weight));
        takers.max_by(|(a, aw), (b, bw)| score(a, *aw).total_cmp(&score(b, *bw)))
    };
    scored(false).or_else(|| scored(true)).map(|(seat, _)| seat)
}

/// The same number for the same address in every process. Neighbours in an IPv6 network are one client.
fn hash_ip(ip: IpAddr) -> u64 {
    match ip.to_canonical() {
        IpAddr::V4(ip) => hash(&ip.octets()),
        IpAddr::V6(ip) => hash(&ip.octets()[..8]),
    }
}

/// The same number for the same bytes in every process (FNV-1a, then mixed).
pub(super) fn hash(bytes: &[u8]) -> u64 {
    let add = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, add))
}

/// From 0 up to 1: the same for the same bytes in every process, and anything for others.
#[must_use]
pub fn spread(bytes: &[u8]) -> f64 {
    (hash(bytes) >> 11) as f64 / (1u64 << 53) as f64
}

/// Spreads what differs in a few bits over all (the end of MurmurHash3).
fn mix(mut n: u64) -> u64 {
    n ^= n >> 33;
    n = n.wrapping_mul(0xff51_afd7_ed55_8ccd);
    n ^= n >> 33;
    n = n.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    n ^ (n >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::seat::tests::seats;
    use super::*;

    fn choose(balancer: Balancer, fit: &[(Arc<Seat>, f64)], key: &str) -> String {
        let by = By { client: key.parse().ok(), key: Some(key.as_bytes()), ..By::default() };
        let mut dice = Dice::new();
        balancer.choose(fit, &by, &mut dice).unwrap().endpoint.target.to_string()
    }

    #[test]
    fn round_robin_is_smooth() {
        let fit = seats(&[5.0, 1.0, 1.0]);
        let order: String = (0..7)
            .map(|_| choose(Balancer::RoundRobin, &fit, ""))
            .map(|target| target.chars().last().unwrap())
            .collect();
        assert_eq!(order, "1121311");
    }

    #[test]
    fn random_goes_by_weight() {
        let fit = seats(&[3.0, 1.0]);
        let first = (0..4000).filter(|_| choose(Balancer::Random, &fit, "").ends_with('1')).count();
        assert!((2700..3300).contains(&first), "{first}");
    }

    #[test]
    fn the_least_busy_is_taken() {
        let fit = seats(&[1.0, 1.0, 2.0]);
        fit[0].0.active.store(1, Ordering::Relaxed);
        fit[1].0.active.store(2, Ordering::Relaxed);
        fit[2].0.active.store(2, Ordering::Relaxed);
        for _ in 0..20 {
            assert_eq!(choose(Balancer::LeastConn, &fit, ""), "127.0.0.1:3");
        }
    }

    #[test]
    fn the_faster_of_two_is_taken() {
        let fit = seats(&[1.0, 1.0]);
        fit[0].0.answered(std::time::Duration::from_millis(50));
        fit[1].0.answered(std::time::Duration::from_millis(5));
        let slow = (0..4000).filter(|_| choose(Balancer::P2c, &fit, "").ends_with('1')).count();
        // Both dice name it in a quarter of all cases.
        assert!((800..1200).contains(&slow), "{slow}");
    }

    #[test]
    fn only_the_keys_of_a_node_that_goes_move() {
        let fit = seats(&[1.0, 1.0, 2.0]);
        let keys: Vec<String> = (0..2000).map(|n| format!("key{n}")).collect();
        let before: Vec<_> = keys.iter().map(|key| choose(Balancer::Hash, &fit, key)).collect();
        let mut shares = HashMap::<_, usize>::new();
        before.iter().for_each(|target| *shares.entry(target.as_str()).or_default() += 1);
        assert!((850..1150).contains(&shares["127.0.0.1:3"]), "{shares:?}");
        for (key, target) in keys.iter().zip(&before) {
            let now = choose(Balancer::Hash, &fit[1..], key);
            assert!(target.ends_with('1') || now == *target, "{key}");
        }
    }

    #[test]
    fn a_key_leaves_a_node_that_is_overloaded() {
        let fit = seats(&[1.0, 1.0]);
        let home = choose(Balancer::Hash, &fit, "k");
        let (busy, _) = fit.iter().find(|(s, _)| s.endpoint.target.to_string() == home).unwrap();
        busy.active.store(100, Ordering::Relaxed);
        assert_ne!(choose(Balancer::Hash, &fit, "k"), home);
        fit.iter().for_each(|(seat, _)| seat.active.store(100, Ordering::Relaxed));
        assert_eq!(choose(Balancer::Hash, &fit, "k"), home);
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let fit = seats(&[1.0; 16]);
        let to = |ip: &str| choose(Balancer::IpHash, &fit, ip);
        assert_eq!(to("2001:db8::1"), to("2001:db8::2"));
        assert_eq!(to("::ffff:192.0.2.1"), to("192.0.2.1"));
        let spread: std::collections::HashSet<_> =
            (1..100).map(|n| to(&format!("192.0.2.{n}"))).collect();
        assert!(spread.len() > 10);
    }
}
