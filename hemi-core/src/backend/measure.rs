//! What a backend tells about its nodes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Endpoint, Health, Nodes, Place};
use crate::clock;
use crate::metrics::Measures;

/// Tells how many connections there are to a node.
type CountConns<'a> = &'a dyn Fn(&Arc<Endpoint>) -> usize;

impl Nodes {
    /// Tells what is known of the nodes, for the backend that they are of.
    pub fn measure(&self, out: &mut Measures) {
        self.tell(out, None);
    }

    /// The same for a backend that keeps so many connections to a node open for further requests.
    pub fn measure_with_conns(&self, out: &mut Measures, conns: impl Fn(&Arc<Endpoint>) -> usize) {
        self.tell(out, Some(&conns));
    }

    fn tell(&self, out: &mut Measures, conns: Option<CountConns<'_>>) {
        self.measure_queues(out);
        let now = clock::now();
        let places = self.table().clone();
        for Place { endpoint, node, .. } in &places.0 {
            let sum = self.sum(endpoint);
            let address = endpoint.target.to_string();
            let labels =
                [("node", node.name.as_deref().unwrap_or(&address)), ("address", &address)];
            let fit = endpoint.health() != Health::Down && !endpoint.is_ejected(now);
            let help = "Whether the node gets requests, as far as checks and failures go.";
            out.gauge("hemi_backend_node_up", help, &labels, u64::from(fit));
            let help = "Requests that the node was picked for.";
            out.counter("hemi_backend_requests", help, &labels, sum.requests);
            let help = "Of these, those that failed by its fault.";
            out.counter("hemi_backend_failures", help, &labels, sum.failed);
            let help = "Requests that the node works on now.";
            out.gauge("hemi_backend_active", help, &labels, sum.active);
            let help = "Requests that may wait for it to answer; 0 for any number.";
            let limit = endpoint.pace.limit().unwrap_or(0);
            out.gauge("hemi_backend_limit", help, &labels, u64::from(limit));
            if let Some(conns) = conns {
                let help = "Connections to the node that are open for further requests.";
                out.gauge("hemi_backend_conns", help, &labels, conns(endpoint) as u64);
            }
            let state = match (endpoint.health(), endpoint.is_ejected(now)) {
                _ if endpoint.is_drained() => "drained",
                (Health::Down, _) => "down",
                (_, true) => "ejected",
                (Health::Up, _) => "up",
                (Health::Unknown, _) => "unchecked",
            };
            let [name, address] = labels;
            let zone = ("zone", node.zone.as_str());
            let help = "What is known of a node, and what it is for.";
            let role = ("role", if node.backup { "backup" } else { "primary" });
            let labels = [name, address, ("state", state), role, zone];
            out.info("hemi_backend_node", help, &labels);
            let labels = [name, address];
            let help = "How long its answers take to begin, of late.";
            let latency = sum.latency.unwrap_or_default().as_secs_f64();
            out.gauge("hemi_backend_latency_seconds", help, &labels, latency);
        }
    }

    /// What all cores have counted of a node.
    fn sum(&self, endpoint: &Arc<Endpoint>) -> Sum {
        let mut sum = Sum::default();
        for view in self.views.each() {
            let seat = view.seats.iter().find(|(seat, _)| Arc::ptr_eq(&seat.endpoint, endpoint));
            let Some((seat, _)) = seat else { continue };
            sum.requests += seat.requests.load(Ordering::Relaxed);
            sum.failed += seat.failed.load(Ordering::Relaxed);
            sum.active += u64::from(seat.active.load(Ordering::Relaxed));
            sum.latency = sum.latency.max(seat.latency());
        }
        sum
    }

    fn measure_queues(&self, out: &mut Measures) {
        let (mut waiting, mut shed, mut retries, mut refused) = (0, 0, 0, 0);
        for view in self.views.each() {
            waiting += view.queue.waiting.load(Ordering::Relaxed) as u64;
            shed += view.queue.shed.load(Ordering::Relaxed);
            let (spent, denied) = view.retries.counted();
            retries += spent;
            refused += denied;
        }
        let help = "Requests that wait, for all nodes have as much to do as they can.";
        out.gauge("hemi_backend_pending", help, &[], waiting);
        let help = "Requests that were refused for that reason.";
        out.counter("hemi_backend_shed", help, &[], shed);
        let help = "Times that a request was sent to another node.";
        out.counter("hemi_backend_retries", help, &[], retries);
        let help = "Times that it was not, for retryBudget.";
        out.counter("hemi_backend_retries_refused", help, &[], refused);
    }
}

/// What was counted of a node.
#[derive(Debug, Default)]
struct Sum {
    requests: u64,
    failed: u64,
    active: u64,
    /// As the core sees it that waits longest.
    latency: Option<Duration>,
}
