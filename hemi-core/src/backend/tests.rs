//! Backends whose nodes are nowhere.

use std::time::Duration;

use super::*;
use crate::resolv::ResolvConfig;

/// Nodes at ports 1, 2, 3, ...; those in `backups` are backups.
fn nodes(count: u16, backups: &[u16]) -> Nodes {
    with(BackendConfig::default(), (1..=count).map(|port| node(port, backups.contains(&port), "")))
}

fn node(port: u16, backup: bool, zone: &str) -> Node {
    let address = NodeAddress::Tcp { host: "127.0.0.1".into(), port };
    Node { backup, zone: zone.to_owned(), ..Node::at(address) }
}

fn with(config: BackendConfig, nodes: impl Iterator<Item = Node>) -> Nodes {
    let resolv = Arc::new(Resolv::new(ResolvConfig::default()));
    let config = BackendConfig { balancer: Balancer::RoundRobin, ..config };
    let nodes = Nodes::new("b", config, nodes.map(Arc::new).collect(), resolv, 1);
    wait_aside(nodes.resolve_all()).unwrap();
    nodes
}

fn port(pick: &Pick) -> u16 {
    let Target::Tcp(address) = pick.endpoint().target() else { panic!("not TCP") };
    address.port()
}

/// All that are picked, in the course of some requests.
fn picked(nodes: &Nodes) -> Vec<u16> {
    let ports = (0..20).map(|_| port(&nodes.pick(&By::default(), &[]).unwrap()));
    ports.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

fn fail(nodes: &Nodes, of: u16) {
    let all: Vec<_> = (0..6).map(|_| nodes.pick(&By::default(), &[]).unwrap()).collect();
    let pick = all.iter().find(|pick| port(pick) == of).unwrap();
    (0..5).for_each(|_| nodes.failed(pick));
}

#[test]
fn who_fails_in_a_row_is_left_out_but_never_more_than_half() {
    let nodes = nodes(4, &[]);
    assert_eq!(picked(&nodes), [1, 2, 3, 4]);
    fail(&nodes, 1);
    assert_eq!(picked(&nodes), [2, 3, 4]);
    fail(&nodes, 2);
    fail(&nodes, 3);
    assert_eq!(picked(&nodes), [3, 4]);
}

#[test]
fn the_last_one_is_not_left_out() {
    let nodes = nodes(1, &[]);
    fail(&nodes, 1);
    assert_eq!(picked(&nodes), [1]);
}

#[test]
fn an_answer_ends_the_row() {
    let nodes = nodes(2, &[]);
    let pick = nodes.pick(&By::default(), &[]).unwrap();
    for _ in 0..3 {
        (0..4).for_each(|_| nodes.failed(&pick));
        pick.answered(Duration::from_millis(1));
    }
    assert_eq!(picked(&nodes), [1, 2]);
}

#[test]
fn backups_serve_when_nobody_else_can() {
    let nodes = nodes(3, &[3]);
    assert_eq!(picked(&nodes), [1, 2]);
    let [one, two, three] = &nodes.endpoints()[..] else { panic!("not three") };
    one.set_health(Health::Down, clock::now());
    two.set_drained(true);
    assert_eq!(picked(&nodes), [3]);
    three.set_health(Health::Down, clock::now());
    assert_eq!(nodes.pick(&By::default(), &[]).unwrap_err(), NoNode::Fit);
}

#[test]
fn who_was_tried_is_not_tried_again() {
    let nodes = nodes(2, &[]);
    let mut tried = Vec::new();
    for _ in 0..2 {
        tried.push(nodes.pick(&By::default(), &tried).unwrap());
    }
    assert_ne!(port(&tried[0]), port(&tried[1]));
    assert_eq!(nodes.pick(&By::default(), &tried).unwrap_err(), NoNode::Left);
}

#[test]
fn nodes_of_the_own_zone_are_preferred_while_enough_are_fit() {
    let config = BackendConfig { zone: "a".to_owned(), ..BackendConfig::default() };
    let zones = [(1, "a"), (2, "a"), (3, "a"), (4, "a"), (5, "b"), (6, "")];
    let nodes = with(config, zones.into_iter().map(|(port, zone)| node(port, false, zone)));
    assert_eq!(picked(&nodes), [1, 2, 3, 4]);
    let endpoints = nodes.endpoints();
    for endpoint in &endpoints[..2] {
        endpoint.set_health(Health::Down, clock::now());
    }
    assert_eq!(picked(&nodes), [3, 4]);
    endpoints[2].set_health(Health::Down, clock::now());
    assert_eq!(picked(&nodes), [4, 5, 6]);
}

#[test]
fn nodes_have_no_more_to_do_than_they_may() {
    let config = BackendConfig { max_conns: 2, ..BackendConfig::default() };
    let nodes = with(config, (1..=2).map(|port| node(port, false, "")));
    let mut picks: Vec<_> = (0..4).map(|_| nodes.pick(&By::default(), &[]).unwrap()).collect();
    assert_eq!(nodes.pick(&By::default(), &[]).unwrap_err(), NoNode::Full);
    let free = port(&picks.pop().unwrap());
    assert_eq!(port(&nodes.pick(&By::default(), &[]).unwrap()), free);

    let config = BackendConfig { max_requests: 3, ..BackendConfig::default() };
    let nodes = with(config, (1..=2).map(|port| node(port, false, "")));
    let picks: Vec<_> = (0..3).map(|_| nodes.pick(&By::default(), &[]).unwrap()).collect();
    assert_eq!(nodes.pick(&By::default(), &[]).unwrap_err(), NoNode::Full);
    drop(picks);
    assert!(nodes.pick(&By::default(), &[]).is_ok());
}

#[tokio::test]
async fn who_finds_all_nodes_full_waits_for_one() {
    for (max_pending, served) in [(1, true), (0, false)] {
        let config = BackendConfig {
            max_conns: 1,
            max_pending,
            pending_timeout: Duration::from_secs(60),
            ..BackendConfig::default()
        };
        let nodes = with(config, [node(1, false, "")].into_iter());
        let first = nodes.pick(&By::default(), &[]).unwrap();
        let ends = async {
            tokio::task::yield_now().await;
            drop(first);
        };
        let by = By::default();
        let (waited, ()) = tokio::join!(nodes.pick_in_time(&by, &[]), ends);
        assert_eq!(waited.err(), (!served).then_some(NoNode::Full));
    }
}

#[test]
fn a_client_goes_to_its_node_even_if_that_is_drained() {
    let nodes = nodes(3, &[]);
    let endpoints = nodes.endpoints();
    let by = By { node: Some(endpoints[1].id()), ..By::default() };
    let to = |tried: &[Pick]| nodes.pick(&by, tried).map(|pick| port(&pick));
    assert!((0..10).all(|_| to(&[]) == Ok(2)));
    endpoints[1].set_drained(true);
    assert_eq!(to(&[]), Ok(2));
    let tried = [nodes.pick(&by, &[]).unwrap()];
    assert_ne!(to(&tried), Ok(2));
    endpoints[1].set_health(Health::Down, clock::now());
    assert_ne!(to(&[]), Ok(2));
}

#[tokio::test]
async fn names_are_looked_up_again() {
    let resolv = Arc::new(Resolv::new(ResolvConfig::default()));
    let is_at = |last| {
        let address: Arc<[std::net::IpAddr]> = Arc::new([[127, 0, 0, last].into()]);
        resolv.pretend("node.test", &address);
    };
    is_at(1);
    let address = NodeAddress::Tcp { host: "node.test".into(), port: 80 };
    let resolve_interval = Duration::from_millis(1);
    let config = BackendConfig { resolve_interval, ..BackendConfig::default() };
    let node = Arc::new(Node::at(address));
    let nodes = Nodes::new("b", config, Vec::from([node]), resolv.clone(), 1);
    nodes.resolve_all().await;
    let seen = || nodes.endpoints().iter().map(|e| e.target().to_string()).collect::<Vec<_>>();
    assert_eq!(seen(), ["127.0.0.1:80"]);
    is_at(2);
    let moved = async {
        while seen() != ["127.0.0.2:80"] {
            tokio::time::sleep(resolve_interval).await;
        }
    };
    tokio::select! {
        () = nodes.watch() => {}
        () = moved => {}
        () = tokio::time::sleep(Duration::from_secs(20)) => panic!("{:?}", seen()),
    }
}
