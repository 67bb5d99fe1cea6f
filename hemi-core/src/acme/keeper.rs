//! Sees to it that names have certificates: obtains and renews them, and has sites show them.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use hemi_proto::acme::{Renewal, is_host, renew_at};
use rustls::sign::CertifiedKey;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::answers::{self, Hook, Kind, self_signed};
use super::ask::Ask;
use super::ca::Ca;
use super::error::{Failure, Why};
use super::ledger::{Ledger, never, random};
use super::order::{self, KeyType, Wish};
use super::session::{self, Session};
use super::store::{Store, Stored};
use super::{moment, seconds};
use crate::panics::catch;
use crate::tls::{Issuer, Site};
use crate::{BoxFuture, clock};

/// Names that something is done for at once.
const AT_ONCE: usize = 8;

/// Clients that wait for certificates at once, at most.
const WAITING: usize = 128;

/// How often a CA is asked when to renew, unless it says so itself.
const LOOK: Duration = Duration::from_secs(6 * 3600);

/// Sees to it that names have certificates.
pub(super) struct Keeper {
    pub(super) name: String,
    pub(super) email: Vec<String>,
    pub(super) cas: Vec<Arc<Ca>>,
    pub(super) challenges: Vec<Kind>,
    pub(super) hook: Option<Hook>,
    pub(super) key_type: KeyType,
    pub(super) renew_before: Option<Duration>,
    pub(super) retry_pause: Duration,
    pub(super) placeholder: bool,
    pub(super) store: Store,
    pub(super) ask: Option<Ask>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) held: Mutex<Vec<Held>>,
    /// Tells that there is something to do.
    pub(super) wake: Notify,
    /// Changes whenever an attempt is over.
    pub(super) over: watch::Sender<u64>,
}

/// A site whose names are seen to.
pub(super) struct Held {
    /// It may be gone: it knows us, and we don't keep it.
    pub(super) site: Weak<Site>,
    /// Those that always have certificates: hosts, and `*.x` if that can be had.
    pub(super) names: Vec<String>,
    /// What other hosts look like that can have some on demand: `*.x`, `x.*` or `*`.
    pub(super) patterns: Vec<String>,
}

impl Keeper {
    /// Shows what is kept, and notes what is to be done. Blocks.
    pub(super) fn load(&self) {
        let wanted: HashSet<String> = {
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.iter().flat_map(|held| held.names.iter().cloned()).collect()
        };
        for name in &wanted {
            match self.store.certificate(name).filter(Stored::is_valid) {
                Some(stored) => self.show(name, &stored, Note::IfNew),
                None => {
                    self.ledger.with(name, |entry| {
                        // It was there, and is no more.
                        if entry.failures == 0 {
                            entry.due = SystemTime::UNIX_EPOCH;
                        }
                    });
                    if self.placeholder {
                        self.show_placeholder(name);
                    }
                }
            }
        }
        if let Some(ask) = &self.ask {
            let others = self.store.names().into_iter().filter(|name| {
                !wanted.contains(name) && !name.starts_with('*') && self.is_on_demand(name)
            });
            for name in others.take(ask.names) {
                if let Some(stored) = self.store.certificate(&name).filter(Stored::is_valid) {
                    self.show(&name, &stored, Note::IfNew);
                    self.ledger.with(&name, |entry| entry.on_demand = true);
                }
            }
        }
        self.ledger.keep_only(|name, entry| {
            wanted.contains(name) || (entry.on_demand && self.is_on_demand(name))
        });
    }

    fn show_placeholder(&self, name: &str) {
        match self_signed(name, None) {
            Ok(key) => self.show_key(name, &Arc::new(key)),
            Err(e) => warn!(acme = self.name, name, "there is no placeholder: {e}"),
        }
    }

    /// Works until it is dropped.
    pub(super) async fn work(self: &Arc<Self>) {
        let (mut tasks, mut busy) = (JoinSet::new(), HashSet::new());
        loop {
            let (due, next) = self.ledger.due(&busy, AT_ONCE.saturating_sub(busy.len()));
            for name in due {
                busy.insert(name.clone());
                let this = self.clone();
                tasks.spawn(async move {
                    let attended = catch(pin!(this.attend(&name))).await;
                    if let Err(panic) = attended {
                        this.fail(&name, &Why::Key(format!("panicked: {panic}")).into());
                    }
                    this.over.send_modify(|count| *count += 1);
                    name
                });
            }
            tokio::select! {
                Some(done) = tasks.join_next() => {
                    if let Ok(name) = done {
                        busy.remove(&name);
                    }
                }
                () = self.wake.notified() => {}
                () = tokio::time::sleep(next.max(Duration::from_millis(10))) => {}
            }
        }
    }

    /// Does what is to be done for a name.
    async fn attend(&self, name: &str) {
        let due = self.ledger.with(name, |entry| entry.due);
        let done =
            if due <= clock::calendar() { self.renew(name).await } else { self.look(name).await };
        if let Err(failure) = done {
            self.fail(name, &failure);
        }
    }

    fn fail(&self, name: &str, failure: &Failure) {
        let text = failure.to_string();
        let pause = self.ledger.fail(name, &text, self.retry_pause, failure.pause);
        let again = pause.as_secs();
        warn!(acme = self.name, name, "no certificate, tried again in {again} s: {text}");
    }

    /// Obtains a certificate, unless another process has.
    async fn renew(&self, name: &str) -> Result<(), Failure> {
        let on_demand = self.ledger.with(name, |entry| entry.on_demand);
        let _lock = session::lock(&self.store, name).await?;
        let stored = self.stored(name).await?;
        let known = self.ledger.with(name, |entry| entry.expires);
        let another =
            stored.as_ref().filter(|stored| stored.is_valid() && known != Some(stored.not_after));
        if let Some(stored) = another {
            self.show(name, stored, Note::Always);
            if self.ledger.with(name, |entry| entry.due) > clock::calendar() {
                return Ok(());
            }
        }
        if on_demand && let Some(ask) = &self.ask {
            // What was allowed once may be no more.
            match ask.allows(name).await {
                Err(failure) if matches!(failure.why, Why::NotAllowed { .. }) => {
                    info!(acme = self.name, name, "is not renewed: {failure}");
                    self.ledger.forget(name);
                    self.ledger.refuse(name);
                    return Ok(());
                }
                allowed => allowed?,
            }
        }
        let document = self.issue(name, stored.as_ref()).await?;
        let (store, file, kept) = (self.store.clone(), name.to_owned(), document.clone());
        super::aside(move || store.keep_certificate(&file, &kept)).await??;
        let made = Stored::of(&document).ok_or_else(|| Why::Key("it is unfit".to_owned()))?;
        self.show(name, &made, Note::Always);
        self.ledger.lock().issued += 1;
        let days = (made.not_after - seconds(clock::calendar())) / (24 * 3600);
        let what = if stored.is_some() { "renewed" } else { "obtained" };
        info!(acme = self.name, name, ca = made.ca, "certificate {what}, good for {days} days");
        Ok(())
    }

    async fn stored(&self, name: &str) -> Result<Option<Stored>, Failure> {
        let (store, file) = (self.store.clone(), name.to_owned());
        Ok(super::aside(move || store.certificate(&file)).await?)
    }

    /// Asks the CAs, one after the other.
    async fn issue(
        &self,
        name: &str,
        before: Option<&Stored>,
    ) -> Result<super::store::Document, Failure> {
        let mut last = Failure::from(Why::Key("there is no CA".to_owned()));
        for ca in &self.cas {
            let replaces = before.filter(|before| before.ca == ca.name());
            let replaces = replaces.and_then(|before| before.id.as_deref());
            match self.issue_by(ca, name, replaces).await {
                Ok(document) => return Ok(document),
                Err(failure) => {
                    if self.cas.len() > 1 {
                        warn!(acme = self.name, name, ca = ca.name(), "no certificate: {failure}");
                    }
                    last = failure;
                }
            }
        }
        Err(last)
    }

    /// Asks a CA, with one challenge after the other.
    async fn issue_by(
        &self,
        ca: &Ca,
        name: &str,
        replaces: Option<&str>,
    ) -> Result<super::store::Document, Failure> {
        // Of many hosts only the DNS is a proof.
        let mut fit = self.challenges.clone();
        fit.retain(|kind| *kind == Kind::Dns01 || !name.starts_with("*."));
        let mut last = Failure::from(Why::NoChallenge("dns-01".to_owned()));
        let mut known_anew = false;
        let mut at = 0;
        while let Some(challenge) = fit.get(at).copied() {
            let (hook, key, store) = (self.hook.as_ref(), self.key_type, &self.store);
            let session = Session::open(ca, &self.email, store).await?;
            let wish = Wish { name, key, challenge, hook, replaces, store };
            match order::obtain(&session, &wish).await {
                Err(Failure { why: Why::Problem(problem), .. })
                    if problem.is("accountDoesNotExist") && !known_anew =>
                {
                    session.forget_account(store).await?;
                    known_anew = true;
                    continue;
                }
                Err(failure) if failure.why.is_about_challenge() => last = failure,
                done => return done,
            }
            at += 1;
        }
        Err(last)
    }

    /// Asks the CA when it wants a certificate to be renewed (RFC 9773).
    async fn look(&self, name: &str) -> Result<(), Failure> {
        let look = |at| self.ledger.with(name, |entry| entry.look = at);
        look(clock::calendar() + LOOK);
        let Some(stored) = self.stored(name).await? else { return Ok(()) };
        let ca = self.cas.iter().find(|ca| ca.name() == stored.ca);
        let (Some(ca), Some(id)) = (ca, &stored.id) else { return Ok(()) };
        let asked = async {
            let Some(url) = session::directory(ca).await?.renewal_info else { return Ok(None) };
            let url = format!("{}/{id}", url.trim_end_matches('/'));
            session::look::<Renewal>(ca, &url).await.map(Some)
        };
        match asked.await {
            Ok(Some((renewal, again))) => {
                let again = again.unwrap_or(LOOK).max(Duration::from_secs(60));
                look(clock::calendar() + again);
                if let Some(at) = renewal.suggested_window.at(stored.share) {
                    self.ledger.with(name, |entry| entry.due = moment(at).min(self.due(&stored)));
                }
            }
            Ok(None) => look(never()),
            // There is a time without it too.
            Err::<_, Failure>(failure) => {
                tracing::debug!(acme = self.name, name, "nothing about renewal: {failure}");
            }
        }
        Ok(())
    }

    /// When a certificate is to be renewed, if its CA says nothing about it.
    fn due(&self, stored: &Stored) -> SystemTime {
        let at = match self.renew_before {
            Some(before) => {
                let before = i64::try_from(before.as_secs()).unwrap_or(i64::MAX);
                // One that is as good as new is left alone, whatever was wished.
                let third = stored.not_before + (stored.not_after - stored.not_before) / 3;
                stored.not_after.saturating_sub(before).max(third)
            }
            None => renew_at(stored.not_before, stored.not_after, stored.share),
        };
        moment(at)
    }

    /// Has sites show a certificate, and notes when it is to be renewed.
    fn show(&self, name: &str, stored: &Stored, note: Note) {
        self.show_key(name, &stored.key);
        let known = self.ledger.lock().names.contains_key(name);
        if note == Note::Always || !known {
            let soon = clock::calendar() + Duration::from_secs(30).mul_f64(random());
            self.ledger.have(name, stored.not_after, self.due(stored), soon);
        }
    }

    fn show_key(&self, name: &str, key: &Arc<CertifiedKey>) {
        for held in self.held.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(site) = held.site.upgrade().filter(|_| held.has(name)) {
                site.show_for(name, key.clone());
            }
        }
    }

    /// Whether a host can have a certificate on demand.
    pub(super) fn is_on_demand(&self, name: &str) -> bool {
        self.ask.is_some()
            && is_host(name)
            && self
                .held
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .iter()
                .any(|held| held.patterns.iter().any(|pattern| matches(pattern, name)))
    }

    fn is_shown(&self, name: &str) -> bool {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let sites = held.iter().filter(|held| held.has(name)).filter_map(|h| h.site.upgrade());
        sites.into_iter().any(|site| site.shows(name))
    }

    /// Obtains a certificate because a client asks for it.
    async fn on_demand(&self, name: &str, ask: &Ask) -> Result<(), Failure> {
        if let Some(stored) = self.stored(name).await?.filter(Stored::is_valid) {
            self.show(name, &stored, Note::Always);
            self.ledger.with(name, |entry| entry.on_demand = true);
            return Ok(());
        }
        ask.allows(name).await?;
        if self.ledger.on_demand() >= ask.names || !self.ledger.begin_on_demand(ask.per_hour) {
            return Err(Why::TooMany.into());
        }
        self.ledger.with(name, |entry| entry.on_demand = true);
        self.wake.notify_one();
        Ok(())
    }
}

/// When it is noted how long a certificate is good.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Note {
    Always,
    /// If nothing is known about its name.
    IfNew,
}

impl Held {
    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == name)
            || self.patterns.iter().any(|pattern| matches(pattern, name))
    }
}

/// Whether a host is of a pattern `*.x`, `x.*` or `*`.
fn matches(pattern: &str, host: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(suffix), _) => host.len() > suffix.len() && host.ends_with(suffix),
        (None, Some(prefix)) => host.len() > prefix.len() && host.starts_with(prefix),
        (None, None) => host == pattern,
    }
}

impl Issuer for Keeper {
    fn challenge(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        answers::by_tls(&self.store, name)
    }

    fn awaits(&self, name: &str) -> bool {
        let pattern = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
        let of = |own: &String| own == name || Some(own) == pattern.as_ref();
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.iter().any(|held| held.names.iter().any(of)) {
            return true;
        }
        drop(held);
        self.is_on_demand(name)
    }

    fn obtain<'a>(&'a self, name: &'a str) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            // Each that waits listens.
            if self.over.receiver_count() >= WAITING || self.ledger.is_refused(name) {
                return false;
            }
            let mut over = self.over.subscribe();
            let pattern = name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
            let entry = |name: &str| self.ledger.lock().names.get(name).cloned();
            let known = entry(name).or_else(|| entry(pattern.as_deref()?));
            let before = match (known, &self.ask) {
                (Some(known), _) => known,
                (None, Some(ask)) if self.is_on_demand(name) => {
                    if let Err(failure) = self.on_demand(name, ask).await {
                        self.ledger.refuse(name);
                        info!(acme = self.name, name, "no certificate on demand: {failure}");
                        return false;
                    }
                    super::ledger::Entry::new()
                }
                _ => return false,
            };
            // One that has failed is tried again in its time.
            if before.failures > 0 {
                return self.is_shown(name);
            }
            loop {
                if self.is_shown(name) {
                    return true;
                }
                let now = entry(name).or_else(|| entry(pattern.as_deref()?));
                if now.is_none_or(|now| now.failures > 0) || over.changed().await.is_err() {
                    return self.is_shown(name);
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_tell_who_may_have_a_certificate() {
        for (pattern, host, expected) in [
            ("*.a.test", "b.a.test", true),
            ("*.a.test", "a.test", false),
            ("a.*", "a.test", true),
            ("a.*", "b.a.test", false),
            ("*", "a.test", true),
            ("a.test", "a.test", true),
        ] {
            assert_eq!(matches(pattern, host), expected, "{pattern} {host}");
        }
    }
}
