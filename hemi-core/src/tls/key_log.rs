//! The keys of connections in a file, for who debugs.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustls::KeyLog;
use tracing::warn;

use crate::{Error, Result};

/// Writes down the keys of connections, as `SSLKEYLOGFILE` has them.
#[derive(Debug)]
pub(super) struct KeyFile(Mutex<File>);

impl KeyFile {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::options().create(true).append(true).mode(0o600).open(path);
        let file = file.map_err(|e| Error::env(format!("cannot open {}", path.display()), e))?;
        warn!("the keys of all TLS connections are written to {}", path.display());
        Ok(Self(Mutex::new(file)))
    }
}

impl KeyLog for KeyFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let line = format!("{label} {} {}\n", hex(client_random), hex(secret));
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = file.write_all(line.as_bytes());
    }
}
