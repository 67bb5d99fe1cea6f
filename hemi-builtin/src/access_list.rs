//! Lists of clients that are let in or kept out, for components that check addresses.
//!
//! Of all that an address is in, the smallest block decides; if it is both allowed and denied, it is
//! denied. Who is named nowhere is denied.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use hemi_core::cores::{PerCore, wait_aside};
use hemi_core::resolv::{Resolv, ResolvKind};
use hemi_core::watched::{self, Stamp};
use hemi_core::{CreateCx, Error, Explain, Prepare, Result, Run};
use hemi_proto::cidr::{Cidr, CidrMap};
use serde::Deserialize;
use tokio::time::interval;
use tracing::{info, warn};

use crate::clients::Clients;

/// Checks the addresses of clients.
#[derive(Debug, Deserialize, Explain)]
#[serde(rename_all = "camelCase")]
pub struct AccessConfig {
    /// Whom to let in: addresses, blocks like `"10.0.0.0/8"`, names of hosts, `"unix"` for those who
    /// come by a Unix socket, or `"all"`. By default all, if there is no `allowFile`.
    #[serde(default)]
    allow: Option<Vec<Clients>>,
    /// Whom to keep out.
    #[serde(default)]
    deny: Vec<Clients>,
    /// A file with more of those to let in, one a line, but no names of hosts; `#` begins a comment. It
    /// is read again within a second after it has changed; if that fails, what it said before holds.
    #[serde(default)]
    allow_file: Option<PathBuf>,
    /// The same with those to keep out.
    #[serde(default)]
    deny_file: Option<PathBuf>,
    /// How often the addresses of named hosts are asked for; if that fails, those known before hold.
    #[serde(default = "half_a_minute")]
    resolve_every: Duration,
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

impl AccessConfig {
    /// The same with clients on this machine alone, if nobody is said to be let in.
    pub(crate) fn or_local(mut self) -> Self {
        if self.allow.is_none() && self.allow_file.is_none() {
            let blocks = ["127.0.0.0/8", "::1"].into_iter().filter_map(|text| text.parse().ok());
            self.allow = Some(blocks.map(Clients::Block).chain([Clients::Unix]).collect());
        }
        self
    }
}

/// Bytes of a file of addresses, at most.
const FILE_SIZE: u64 = 64 << 20;

/// Lets clients in, or not.
#[derive(Debug)]
pub(crate) struct AccessList {
    /// From the config.
    listed: Vec<(Clients, Verdict)>,
    hosts: Vec<(String, Verdict)>,
    files: Vec<(PathBuf, Verdict)>,
    resolve_every: Duration,
    resolv: Arc<Resolv>,
    found: Mutex<Found>,
    /// What follows from all of it: one for each core, for requests to share nothing.
    tables: OnceLock<PerCore<Arc<Table>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Allow,
    Deny,
}

/// What can change while the stage serves.
#[derive(Debug, Default)]
struct Found {
    addresses: HashMap<String, Arc<[IpAddr]>>,
    /// In the order of the files; what each was like when it was read first.
    contents: Vec<(Stamp, Vec<Clients>)>,
}

/// Verdicts by address.
#[derive(Debug)]
struct Table {
    blocks: CidrMap<Verdict>,
    unix: Verdict,
}

impl AccessList {
    /// The lists that properties tell of.
    pub(crate) fn create(config: AccessConfig, cx: &mut CreateCx<'_>) -> Result<Self> {
        let files = [(config.allow_file, Verdict::Allow), (config.deny_file, Verdict::Deny)];
        let files = files.into_iter().filter_map(|(path, verdict)| Some((cx.path(path?), verdict)));
        let files: Vec<_> = files.collect();
        let all_by_default = !files.iter().any(|(_, verdict)| *verdict == Verdict::Allow);
        let allow = config.allow.unwrap_or_else(|| match all_by_default {
            true => Vec::from([Clients::All]),
            false => Vec::new(),
        });
        let listed = allow.into_iter().map(|clients| (clients, Verdict::Allow));
        let listed = listed.chain(config.deny.into_iter().map(|c| (c, Verdict::Deny)));
        let (mut hosts, mut others) = (Vec::new(), Vec::new());
        for (clients, verdict) in listed {
            match clients {
                Clients::Host(name) => hosts.push((name, verdict)),
                other => others.push((other, verdict)),
            }
        }
        Ok(Self {
            listed: others,
            hosts,
            files,
            resolve_every: config.resolve_every.max(Duration::from_secs(1)),
            resolv: cx.fixture::<ResolvKind>()?,
            found: Mutex::default(),
            tables: OnceLock::new(),
        })
    }

    /// Reads files, and looks names up.
    pub(crate) fn prepare(&self, cx: &Prepare<'_>) -> Result<()> {
        let mut found = Found::default();
        for (path, _) in &self.files {
            let stamp = Stamp::of(path);
            found.contents.push((stamp, read(path)?));
        }
        // Until a name is resolved it is not known whom it lets in, or keeps out.
        if !self.hosts.is_empty() {
            found.addresses = wait_aside(self.resolve_all())??;
        }
        let table = Arc::new(self.table(&found));
        *self.found() = found;
        let _ = self.tables.set(PerCore::new(cx.cores(), || table.clone()));
        Ok(())
    }

    /// Follows what changes, until the stage ends.
    pub(crate) async fn run(&self, cx: &Run) {
        let refresh = async {
            tokio::join!(self.follow_files(), self.follow_hosts());
        };
        tokio::select! {
            () = cx.shut().cancelled() => {}
            () = refresh => {}
        }
        // Requests under way are still checked, by what is known.
    }

    /// Whether a client of this address is let in; without one, he comes by a Unix socket.
    pub(crate) fn allows(&self, ip: Option<IpAddr>) -> bool {
        self.tables.get().is_some_and(|tables| tables.mine().verdict(ip) == Verdict::Allow)
    }

    /// Puts together all that is known.
    fn table(&self, found: &Found) -> Table {
        let mut all: Vec<(Clients, Verdict)> = self.listed.clone();
        for ((_, verdict), (_, contents)) in self.files.iter().zip(&found.contents) {
            all.extend(contents.iter().map(|clients| (clients.clone(), *verdict)));
        }
        for (name, verdict) in &self.hosts {
            let addresses = found.addresses.get(name).map(|a| &a[..]).unwrap_or_default();
            all.extend(addresses.iter().map(|ip| (Clients::Block(Cidr::from(*ip)), *verdict)));
        }
        Table::new(all)
    }

    /// Works the tables out anew, of which a change is seen by the next request.
    fn update(&self, change: impl FnOnce(&mut Found)) {
        let mut found = self.found();
        change(&mut found);
        let table = Arc::new(self.table(&found));
        for mut of_core in self.tables.get().into_iter().flat_map(PerCore::each) {
            *of_core = table.clone();
        }
    }

    /// Reads files again that have changed.
    async fn follow_files(&self) {
        let follow = async |index: usize| {
            let Some((path, _)) = self.files.get(index) else { return };
            let stamp = self.found().contents[index].0;
            let note = |contents| self.update(|found| found.contents[index].1 = contents);
            watched::follow(path, stamp, read, note).await;
        };
        // There are two at most.
        tokio::join!(follow(0), follow(1));
    }

    fn found(&self) -> MutexGuard<'_, Found> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn follow_hosts(&self) {
        if self.hosts.is_empty() {
            return;
        }
        let mut ticks = interval(self.resolve_every);
        // The first tick comes at once.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            for (name, _) in &self.hosts {
                match self.resolv.resolve(name).await {
                    Ok(addresses) => self.note_addresses(name, addresses),
                    Err(e) => warn!("the addresses known of {name} hold: {e}"),
                }
            }
        }
    }

    fn note_addresses(&self, name: &str, addresses: Arc<[IpAddr]>) {
        let known = self.found().addresses.get(name).cloned();
        if known.is_none_or(|known| known != addresses) {
            info!("{name} now has the addresses {addresses:?}");
            self.update(|found| {
                found.addresses.insert(name.to_owned(), addresses);
            });
        }
    }

    async fn resolve_all(&self) -> Result<HashMap<String, Arc<[IpAddr]>>> {
        let mut addresses = HashMap::new();
        for (name, _) in &self.hosts {
            let found = self.resolv.resolve(name).await;
            let found = found.map_err(|e| Error::env(format!("cannot resolve {name}"), e))?;
            addresses.insert(name.clone(), found);
        }
        Ok(addresses)
    }
}

impl Table {
    fn new(all: Vec<(Clients, Verdict)>) -> Self {
        let (mut blocks, mut unix, mut for_all) = (Vec::new(), None, None);
        // What is denied comes last, and counts.
        let (allow, deny): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(_, verdict)| *verdict == Verdict::Allow);
        for (clients, verdict) in allow.into_iter().chain(deny) {
            match clients {
                Clients::All => {
                    for_all = Some(verdict);
                    blocks.extend([Cidr::ALL_V4, Cidr::ALL_V6].map(|block| (block, verdict)));
                }
                Clients::Unix => unix = Some(verdict),
                Clients::Block(block) => blocks.push((block, verdict)),
                // Its addresses are blocks.
                Clients::Host(_) => {}
            }
        }
        let unix = unix.or(for_all).unwrap_or(Verdict::Deny);
        Self { blocks: CidrMap::new(blocks), unix }
    }

    fn verdict(&self, ip: Option<IpAddr>) -> Verdict {
        match ip {
            Some(ip) => self.blocks.get(ip).copied().unwrap_or(Verdict::Deny),
            None => self.unix,
        }
    }
}

/// Reads a file of addresses.
fn read(path: &Path) -> Result<Vec<Clients>> {
    let cannot = |e| Error::env(format!("cannot read {}", path.display()), e);
    let text = watched::read_text(path, FILE_SIZE).map_err(cannot)?;
    let mut all = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        match entry.parse() {
            Ok(Clients::Host(_)) => {
                let why = "names of hosts are written in the config";
                return Err(Error::other(format!("{}:{number}: {why}", path.display())));
            }
            Ok(clients) => all.push(clients),
            Err(e) => return Err(Error::other(format!("{}:{number}: {e}", path.display()))),
        }
    }
    Ok(all)
}
