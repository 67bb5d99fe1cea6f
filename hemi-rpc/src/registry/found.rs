//! The nodes that a registry knows of.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::{DynNodeRegistry, RegistryError, pause};
use crate::cluster::set;
use crate::{Discovery, NodeInfo};

/// The nodes of a service that a registry knows of, followed for as long as this is kept.
///
/// While the registry can't be asked the nodes of the last time stay. When it can again, those that it has forgotten stay for
/// half a minute, for they may not have come back to it yet: one that has lost all does not leave clients without nodes.
#[derive(Debug)]
pub struct Registered {
    nodes: watch::Sender<Vec<NodeInfo>>,
    task: AbortHandle,
}

/// How long those stay that a registry does not know of when it comes back.
const GRACE: Duration = Duration::from_secs(30);

impl Registered {
    /// Follows the nodes of this service. It is used within a runtime of tokio.
    #[must_use]
    pub fn new(registry: Arc<dyn DynNodeRegistry>, service: &str) -> Self {
        Self::begin(registry, service, None, GRACE)
    }

    /// The same with a file in which the nodes are kept that were found last, a line for each: they are called until the
    /// registry has been asked, should that take long.
    #[must_use]
    pub fn with_file(
        registry: Arc<dyn DynNodeRegistry>,
        service: &str,
        file: impl Into<PathBuf>,
    ) -> Self {
        Self::begin(registry, service, Some(file.into()), GRACE)
    }

    fn begin(
        registry: Arc<dyn DynNodeRegistry>,
        service: &str,
        file: Option<PathBuf>,
        grace: Duration,
    ) -> Self {
        let nodes = watch::Sender::default();
        let follower =
            Follower { registry, service: service.to_owned(), nodes: nodes.clone(), file, grace };
        Self { nodes, task: tokio::spawn(follower.run()).abort_handle() }
    }

    /// Waits until there is a node.
    pub async fn any(&self) {
        // What is waited for can't end: it is ours.
        let _ = self.nodes.subscribe().wait_for(|nodes| !nodes.is_empty()).await;
    }
}

impl Discovery for Registered {
    fn nodes(&self) -> watch::Receiver<Vec<NodeInfo>> {
        self.nodes.subscribe()
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Follower {
    registry: Arc<dyn DynNodeRegistry>,
    service: String,
    nodes: watch::Sender<Vec<NodeInfo>>,
    file: Option<PathBuf>,
    grace: Duration,
}

impl Follower {
    async fn run(self) {
        if let Some(file) = self.file.clone() {
            let read = spawn_blocking(move || crate::cluster::read(&file)).await;
            if let Ok(Ok(nodes)) = read {
                set(&self.nodes, nodes);
            }
        }
        let mut failed = 0;
        loop {
            let why = self.follow(&mut failed).await;
            if failed == 0 {
                warn!("the nodes of {} stay as they are: {why}", self.service);
            }
            failed += 1;
            sleep(pause(failed)).await;
        }
    }

    /// Follows for as long as the registry can be asked.
    async fn follow(&self, failed: &mut u32) -> RegistryError {
        let (sender, mut found) = watch::channel(Vec::new());
        let following = self.registry.follow(&self.service, &sender);
        tokio::pin!(following);
        // None once the registry is believed in what it does not say.
        let mut settles = (*failed > 0).then(|| Instant::now() + self.grace);
        loop {
            tokio::select! {
                why = &mut following => return why,
                _ = found.changed() => {
                    if std::mem::take(failed) > 0 {
                        info!("the nodes of {} are known again", self.service);
                    }
                }
                () = sleep_until(settles.unwrap_or_else(Instant::now)), if settles.is_some() => {
                    settles = None;
                    // It was silent all the time.
                    if *failed > 0 {
                        continue;
                    }
                }
            }
            let nodes = found.borrow_and_update().clone();
            self.tell(nodes, settles.is_some()).await;
        }
    }

    async fn tell(&self, mut found: Vec<NodeInfo>, unsettled: bool) {
        found.sort_by(|a, b| a.address.cmp(&b.address));
        found.dedup_by(|a, b| a.address == b.address);
        if unsettled {
            for known in self.nodes.borrow().iter() {
                if let Err(at) = found.binary_search_by(|node| node.address.cmp(&known.address)) {
                    found.insert(at, known.clone());
                }
            }
        }
        // None are no news that would help who begins without the registry.
        let text: Option<String> = (!found.is_empty() && found != *self.nodes.borrow())
            .then(|| found.iter().filter_map(NodeInfo::to_line).collect());
        set(&self.nodes, found);
        if let (Some(file), Some(text)) = (self.file.clone(), text) {
            let shown = file.display().to_string();
            if let Ok(Err(e)) = spawn_blocking(move || write(&file, &text)).await {
                warn!("{shown}: {e}");
            }
        }
    }
}

/// In one go, for who reads it meanwhile, or writes it too.
fn write(file: &Path, text: &str) -> io::Result<()> {
    // Other machines may have processes of the same number.
    let random = getrandom::u64().map_err(io::Error::other)?;
    let mut aside = file.as_os_str().to_owned();
    aside.push(format!(".{random:016x}.new"));
    let aside = PathBuf::from(aside);
    let written = File::create_new(&aside).and_then(|mut new| {
        new.write_all(text.as_bytes())?;
        std::fs::rename(&aside, file)
    });
    if written.is_err() {
        let _ = std::fs::remove_file(&aside);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use hemi_core::Lifecycle;
    use tokio::sync::mpsc;

    use super::*;
    use crate::{Announcement, NodeRegistry};

    /// Says what a test has it say: none for that it can't be asked.
    #[derive(Debug)]
    struct Told(Mutex<Option<mpsc::Receiver<Option<&'static str>>>>);

    impl Lifecycle for Told {}

    impl NodeRegistry for Told {
        async fn follow(&self, _: &str, found: &watch::Sender<Vec<NodeInfo>>) -> RegistryError {
            let mut told = self.0.lock().unwrap().take().unwrap();
            while let Some(Some(nodes)) = told.recv().await {
                found.send_replace(nodes.split_whitespace().map(NodeInfo::new).collect());
            }
            *self.0.lock().unwrap() = Some(told);
            RegistryError::new("away")
        }

        async fn announce(&self, _: &Announcement) -> Result<(), RegistryError> {
            Ok(())
        }
    }

    async fn wait_for(nodes: &mut watch::Receiver<Vec<NodeInfo>>, expected: &str) {
        let is = |nodes: &Vec<NodeInfo>| {
            nodes.iter().map(|node| node.address.as_str()).eq(expected.split_whitespace())
        };
        nodes.wait_for(is).await.unwrap();
    }

    #[tokio::test]
    async fn what_a_registry_has_forgotten_stays_for_a_while_when_it_comes_back() {
        for (grace, expected) in
            [(Duration::from_secs(3600), "b:1 c:1 d:1"), (Duration::ZERO, "c:1 d:1")]
        {
            let (sender, told) = mpsc::channel(1);
            let registry = Arc::new(Told(Mutex::new(Some(told))));
            let registered = Registered::begin(registry, "S", None, grace);
            let mut nodes = registered.nodes();
            let tell = async |nodes| sender.send(nodes).await.unwrap();
            tell(Some("b:1 a:1 b:1")).await;
            wait_for(&mut nodes, "a:1 b:1").await;
            tell(Some("b:1 c:1")).await;
            wait_for(&mut nodes, "b:1 c:1").await;
            // Away, and back without what it knew.
            tell(None).await;
            tell(Some("")).await;
            tell(Some("c:1 d:1")).await;
            wait_for(&mut nodes, expected).await;
            registered.any().await;
        }
    }

    #[test]
    fn a_file_of_nodes_that_several_write_is_whole_at_all_times() {
        let dir = hemi_test::TempDir::new().unwrap();
        let file = dir.path().join("nodes");
        let texts = ["a", "b", "c", "d"].map(|line| format!("{line}:1\n").repeat(50_000));
        std::thread::scope(|scope| {
            let writers = texts.each_ref().map(|text| {
                let file = &file;
                scope.spawn(move || (0..20).try_for_each(|_| write(file, text)))
            });
            while !writers.iter().all(|writer| writer.is_finished()) {
                if let Ok(read) = std::fs::read_to_string(&file) {
                    assert!(texts.contains(&read), "{} bytes", read.len());
                }
            }
            for writer in writers {
                writer.join().unwrap().unwrap();
            }
        });
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[tokio::test]
    async fn the_last_nodes_are_kept_in_a_file() {
        let dir = hemi_test::TempDir::new().unwrap();
        let file = dir.path().join("nodes");
        let (sender, told) = mpsc::channel(1);
        let registry = Arc::new(Told(Mutex::new(Some(told))));
        let registered = Registered::with_file(registry, "S", &file);
        sender.send(Some("a:1 b:1")).await.unwrap();
        wait_for(&mut registered.nodes(), "a:1 b:1").await;
        sender.send(Some("")).await.unwrap();
        wait_for(&mut registered.nodes(), "").await;
        drop(registered);
        let (_sender, told) = mpsc::channel(1);
        let registry = Arc::new(Told(Mutex::new(Some(told))));
        let registered = Registered::with_file(registry, "S", &file);
        wait_for(&mut registered.nodes(), "a:1 b:1").await;
    }
}
