//! What routers need to terminate TLS: one site, for all names.

use std::sync::{Arc, OnceLock};

use hemi_core::config::{Diagnostic, Span};
use hemi_core::tls::{
    Acceptor, Site, SiteConfig, SiteFiles, Sites, Tickets, TlsConfig, TlsCounters,
};
use hemi_core::{CreateCx, Result, Run};

/// What is needed to terminate TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    config: TlsConfig,
    pub(crate) protocols: Vec<String>,
    pub(crate) site: Arc<Site>,
    files: Arc<SiteFiles>,
    tickets: Arc<Tickets>,
    pub(crate) counters: Arc<TlsCounters>,
    acceptor: OnceLock<Arc<Acceptor>>,
}

/// All names have the one site.
#[derive(Debug)]
pub(crate) struct OneSite(pub(crate) Arc<Site>);

impl Sites for OneSite {
    fn find(&self, _: Option<&str>) -> Option<Arc<Site>> {
        Some(self.0.clone())
    }
}

impl Tls {
    /// By these properties of the component at `place`; none if nothing is to be encrypted.
    ///
    /// # Errors
    /// When there is no certificate.
    pub(crate) fn create(
        config: TlsConfig,
        site: SiteConfig,
        protocols: Vec<String>,
        place: Span,
        cx: &mut CreateCx<'_>,
    ) -> Result<Option<Self>> {
        let site = site.create(Vec::new(), cx)?;
        if !config.tls_mode {
            return Ok(None);
        }
        let Some((site, files)) = site else {
            let message = "connections are to be encrypted, but there is no certificate";
            let help = "add `.tlsCertificate = …` and `.tlsPrivateKey = …`";
            return Err(Diagnostic::new(place, message).help(help).into());
        };
        let cores = cx.cores();
        let tls_key_log = config.tls_key_log.map(|path| cx.written(path));
        Ok(Some(Self {
            config: TlsConfig { tls_key_log, ..config },
            protocols,
            site,
            files,
            tickets: cx.keep(Tickets::default),
            counters: cx.keep(|| TlsCounters::new(cores)),
            acceptor: OnceLock::new(),
        }))
    }

    pub(crate) fn prepare(&self, cores: usize) -> Result<()> {
        self.files.read_into(&self.site)?;
        self.tickets.configure_by(&self.config)?;
        let protocols: Vec<_> = self.protocols.iter().map(String::as_str).collect();
        let acceptor = Acceptor::new(
            self.config.clone(),
            &protocols,
            Arc::new(OneSite(self.site.clone())),
            self.tickets.clone(),
            self.counters.clone(),
            cores,
        )?;
        let _ = self.acceptor.set(Arc::new(acceptor));
        Ok(())
    }

    /// Once it is prepared.
    pub(crate) fn acceptor(&self) -> Option<&Arc<Acceptor>> {
        self.acceptor.get()
    }

    /// Follows the files of certificates, until the stage ends.
    pub(crate) async fn follow(&self, cx: &Run) {
        tokio::select! {
            () = self.files.follow(&self.site) => {}
            () = cx.shut().cancelled() => {}
        }
    }
}
