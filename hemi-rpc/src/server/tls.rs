//! What a server needs to encrypt its connections.

use std::sync::{Arc, OnceLock};

use hemi_core::config::Diagnostic;
use hemi_core::tls::{
    Acceptor, Site, SiteConfig, SiteFiles, Sites, Tickets, TlsConfig, TlsCounters,
};
use hemi_core::{CreateCx, Result};

pub(super) struct Tls {
    config: TlsConfig,
    tickets: Arc<Tickets>,
    pub(super) counters: Arc<TlsCounters>,
    pub(super) site: Arc<Site>,
    pub(super) files: Arc<SiteFiles>,
    pub(super) acceptor: OnceLock<Arc<Acceptor>>,
}

/// All clients are shown the same, whatever name they ask for.
struct One(Arc<Site>);

impl Sites for One {
    fn find(&self, _: Option<&str>) -> Option<Arc<Site>> {
        Some(self.0.clone())
    }
}

impl Tls {
    /// None if connections are in the clear.
    pub(super) fn create(
        config: TlsConfig,
        site: SiteConfig,
        cx: &mut CreateCx<'_>,
    ) -> Result<Option<Self>> {
        if !config.tls_mode {
            return Ok(None);
        }
        let Some((site, files)) = site.create(Vec::new(), cx)? else {
            let message = "connections are to be encrypted, but there is no certificate";
            let help = "add `.tlsCertificate = …` and `.tlsPrivateKey = …`";
            return Err(Diagnostic::new(cx.span(), message).help(help).into());
        };
        let cores = cx.cores();
        let tls_key_log = config.tls_key_log.map(|path| cx.written(path));
        Ok(Some(Self {
            config: TlsConfig { tls_key_log, ..config },
            tickets: cx.keep(Tickets::default),
            counters: cx.keep(|| TlsCounters::new(cores)),
            site,
            files,
            acceptor: OnceLock::new(),
        }))
    }

    pub(super) fn prepare(&self, cores: usize) -> Result<()> {
        self.tickets.configure_by(&self.config)?;
        self.files.read_into(&self.site)?;
        let acceptor = Acceptor::new(
            self.config.clone(),
            &[],
            Arc::new(One(self.site.clone())),
            self.tickets.clone(),
            self.counters.clone(),
            cores,
        )?;
        let _ = self.acceptor.set(Arc::new(acceptor));
        Ok(())
    }
}
