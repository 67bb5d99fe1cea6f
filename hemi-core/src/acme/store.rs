//! Certificates, accounts and answers to challenges in files, which several processes may share.
//!
//! Files are replaced whole, readable for their owner only. Each is text in front of PEM, `name: value` lines
//! first. What is worked at is locked (flock(2)), so that nothing is ordered twice; a lock ends with its process.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use hemi_proto::acme::{certificate_id, is_host};
use hemi_proto::x509::Certificate;
use rustix::fs::FlockOperation;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::clock;
use crate::tls::provider;

/// A directory of certificates.
#[derive(Clone, Debug)]
pub(super) struct Store(PathBuf);

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) fields: Vec<(String, String)>,
    pub(super) pem: String,
}

/// A certificate that is kept.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) key: Arc<CertifiedKey>,
    /// The directory of the CA that it comes from.
    pub(super) ca: String,
    /// Seconds since 1970.
    pub(super) not_before: i64,
    pub(super) not_after: i64,
    /// By what the CA is asked about its renewal.
    pub(super) id: Option<String>,
    /// A number from 0 to 1 that is always the same for it, and unlike those of others.
    pub(super) share: f64,
}

/// The right to work at something, until it is dropped.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "it is held")] File);

const ACCOUNTS: &str = "accounts";
const CERTIFICATES: &str = "certificates";
const CHALLENGES: &str = "challenges";
const LOCKS: &str = "locks";

/// The field that names the CA of a certificate.
const CA: &str = "ca";

/// Answers that are older were forgotten by a process that has died.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// Bytes of a file, at most.
const LARGEST: u64 = 1 << 20;

impl Document {
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    fn parse(text: &str) -> Self {
        let at = text.find("-----BEGIN").unwrap_or(text.len());
        let fields = text[..at].lines().filter_map(|line| line.split_once(": "));
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { fields: fields.collect(), pem: text[at..].to_owned() }
    }

    fn text(&self) -> String {
        let fields = self.fields.iter().map(|(name, value)| format!("{name}: {value}\n"));
        fields.collect::<String>() + &self.pem
    }
}

impl Store {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    /// Makes the directories, and removes what others forgot. Blocks.
    pub(super) fn prepare(&self) -> io::Result<()> {
        for dir in [ACCOUNTS, CERTIFICATES, CHALLENGES, LOCKS] {
            DirBuilder::new().recursive(true).mode(0o700).create(self.0.join(dir))?;
        }
        for file in fs::read_dir(self.0.join(CHALLENGES))?.flatten() {
            let changed = file.metadata().and_then(|meta| meta.modified());
            let age = changed.ok().and_then(|at| clock::calendar().duration_since(at).ok());
            if age.is_some_and(|age| age > STALE) {
                let _ = fs::remove_file(file.path());
            }
        }
        Ok(())
    }

    /// The account with the CA of this directory. Blocks.
    pub(super) fn account(&self, ca: &str) -> io::Result<Option<Document>> {
        read(&self.account_file(ca)).map(|text| text.map(|text| Document::parse(&text)))
    }

    /// Keeps it. Blocks.
    pub(super) fn keep_account(&self, ca: &str, account: &Document) -> io::Result<()> {
        write(&self.account_file(ca), &account.text())
    }

    fn account_file(&self, ca: &str) -> PathBuf {
        self.0.join(ACCOUNTS).join(format!("{}.pem", short(ca)))
    }

    /// The certificate for a name; none if there is none, or it can't be used. Blocks.
    pub(super) fn certificate(&self, name: &str) -> Option<Stored> {
        let text = read(&self.certificate_file(name)).ok()??;
        Stored::of(&Document::parse(&text))
    }

    /// Keeps a certificate: its key and its chain in PEM. Blocks.
    pub(super) fn keep_certificate(&self, name: &str, certificate: &Document) -> io::Result<()> {
        write(&self.certificate_file(name), &certificate.text())
    }

    fn certificate_file(&self, name: &str) -> PathBuf {
        self.0.join(CERTIFICATES).join(format!("{}.pem", name.replace('*', "_")))
    }

    /// The names that there are certificates for. Blocks.
    pub(super) fn names(&self) -> Vec<String> {
        let Ok(files) = fs::read_dir(self.0.join(CERTIFICATES)) else { return Vec::new() };
        let names = files.flatten().filter_map(|file| {
            let name = file.file_name().to_str()?.strip_suffix(".pem")?.replace('_', "*");
            is_host(&name).then_some(name)
        });
        names.collect()
    }

    /// What `key` is answered by, if there is such a challenge now. `key` must be fit for a file's name. Blocks.
    pub(super) fn answer(&self, key: &str) -> Option<String> {
        read(&self.0.join(CHALLENGES).join(key)).ok()?
    }

    /// Answers a challenge from now on. Blocks.
    pub(super) fn put_answer(&self, key: &str, answer: &str) -> io::Result<()> {
        write(&self.0.join(CHALLENGES).join(key), answer)
    }

    /// Ends that. Blocks.
    pub(super) fn end_answer(&self, key: &str) {
        let _ = fs::remove_file(self.0.join(CHALLENGES).join(key));
    }

    /// The right to work at something, unless another has it. Blocks.
    pub(super) fn try_lock(&self, what: &str) -> io::Result<Option<Lock>> {
        let path = self.0.join(LOCKS).join(what.replace('*', "_"));
        let file =
            File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// The right to deal with the account of a CA.
    pub(super) fn account_lock(ca: &str) -> String {
        format!("account-{}", short(ca))
    }
}

impl Stored {
    /// None if the file does not hold a certificate and its key.
    pub(super) fn of(document: &Document) -> Option<Self> {
        let pem = document.pem.as_bytes();
        let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().ok()?;
        let key = PrivateKeyDer::from_pem_slice(pem).ok()?;
        let key = CertifiedKey::from_der(chain, key, &provider()).ok()?;
        let first = key.cert.first()?;
        let hash = digest(&SHA256, first);
        let share = hash.as_ref().iter().take(4).fold(0, |n, byte| n << 8 | u32::from(*byte));
        let parsed = Certificate::parse(first)?;
        let (not_before, not_after, id) =
            (parsed.not_before, parsed.not_after, certificate_id(&parsed));
        Some(Self {
            ca: document.field(CA).unwrap_or_default().to_owned(),
            not_before,
            not_after,
            id,
            share: f64::from(share) / f64::from(u32::MAX),
            key: Arc::new(key),
        })
    }

    /// A certificate with its key, as it is kept.
    pub(super) fn document(ca: &str, key: &str, chain: &str) -> Document {
        let fields = Vec::from([(CA.to_owned(), ca.to_owned())]);
        Document { fields, pem: format!("{key}{chain}") }
    }

    /// Whether it is still good, by the calendar.
    pub(super) fn is_valid(&self) -> bool {
        let now = super::seconds(clock::calendar());
        self.not_before <= now && now < self.not_after
    }
}

/// A short name for a long one.
fn short(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    hash.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn read(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// Puts a file in the place of the one that is there, whole or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| io::Error::other("no randomness"))?;
    let temporary = path.with_extension(format!("{:016x}.new", u64::from_ne_bytes(random)));
    let written = (|| {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}
