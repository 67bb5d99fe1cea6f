//! What forward proxies of all kinds count.

use hemi_core::cores::Counter;
use hemi_core::io::Relayed;
use hemi_core::metrics::Measures;

/// Numbers of a forward proxy.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Ways to other hosts that were opened.
    pub(crate) opened: Counter,
    /// Clients and requests that were refused.
    pub(crate) denied: Counter,
    pub(crate) received: Counter,
    pub(crate) sent: Counter,
    /// Datagrams that were not passed on.
    pub(crate) dropped: Counter,
}

impl Counters {
    pub(crate) fn new(cores: usize) -> Self {
        let counter = || Counter::new(cores);
        Self {
            opened: counter(),
            denied: counter(),
            received: counter(),
            sent: counter(),
            dropped: counter(),
        }
    }

    /// Counts a way that was open, and is not any more.
    pub(crate) fn passed(&self, passed: Relayed) {
        self.opened.add(1);
        self.received.add(passed.there);
        self.sent.add(passed.back);
    }

    pub(crate) fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("ways_opened", self.opened.sum()),
            ("denied", self.denied.sum()),
            ("bytes_received", self.received.sum()),
            ("bytes_sent", self.sent.sum()),
            ("datagrams_dropped", self.dropped.sum()),
        ]
    }

    pub(crate) fn measure(&self, out: &mut Measures) {
        for (name, help, counter) in [
            ("hemi_proxy_ways_opened", "Ways to other hosts that were opened.", &self.opened),
            ("hemi_proxy_denied", "Clients and requests that were refused.", &self.denied),
            ("hemi_proxy_bytes_received", "Bytes that clients sent to hosts.", &self.received),
            ("hemi_proxy_bytes_sent", "Bytes that hosts sent to clients.", &self.sent),
            ("hemi_proxy_datagrams_dropped", "Datagrams not passed on.", &self.dropped),
        ] {
            out.counter(name, help, &[], counter.sum());
        }
    }
}
