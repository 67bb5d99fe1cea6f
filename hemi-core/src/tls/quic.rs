//! Handshakes of QUIC (RFC 9001): the same certificates and demands, for which there is another configuration.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rustls::server::{ClientHello, ResolvesServerCert, StoresServerSessions};
use rustls::sign::CertifiedKey;
use rustls::{Error, ServerConfig};

use super::site::Shown;
use super::{Acceptor, Site};

impl Acceptor {
    /// The configuration for QUIC (RFC 9001) of those who ask for sites that demand no certificate of them.
    /// Early data is taken of clients whose sessions are in `early`, which takes the place of tickets.
    ///
    /// # Errors
    /// When the cipher suites and groups leave nothing to be spoken by TLS 1.3.
    pub fn quic(
        self: &Arc<Self>,
        protocols: &[&str],
        early: Option<Arc<dyn StoresServerSessions>>,
    ) -> Result<ServerConfig, Error> {
        let builder = ServerConfig::builder_with_provider(self.provider.clone());
        let mut config = builder
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(BySite { acceptor: self.clone(), asking: None }));
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        let no_tickets = config.ticketer.clone();
        self.complete(&mut config, *b"hemi's tickets for QUIC any site");
        if let Some(sessions) = early {
            config.ticketer = no_tickets;
            config.session_storage = sessions;
            // As QUIC has it: how much there may be is its own business (RFC 9001 section 4.6.1).
            config.max_early_data_size = u32::MAX;
        }
        Ok(config)
    }

    /// The same of those who ask for a site that demands certificates of its clients; none if this is no such name.
    ///
    /// # Errors
    /// As those of [`Acceptor::quic`].
    pub(crate) fn quic_asking(
        self: &Arc<Self>,
        name: Option<&str>,
        protocols: &[Vec<u8>],
    ) -> Result<Option<ServerConfig>, Error> {
        let Some((site, shown)) = self.asking(name) else { return Ok(None) };
        let Some(clients) = shown.clients.clone() else { return Ok(None) };
        let context = digest(&SHA256, &[&shown.context[..], b"QUIC"].concat());
        let builder = ServerConfig::builder_with_provider(self.provider.clone());
        let mut config = builder
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(clients)
            .with_cert_resolver(Arc::new(BySite { acceptor: self.clone(), asking: Some(site) }));
        config.alpn_protocols = protocols.to_vec();
        let mut tickets = [0; 32];
        tickets.copy_from_slice(context.as_ref());
        self.complete(&mut config, tickets);
        Ok(Some(config))
    }

    /// Whether who asks for this name is asked for a certificate.
    pub(crate) fn asks_clients(&self, name: Option<&str>) -> bool {
        self.asking(name).is_some()
    }

    /// The site of this name, if it asks clients for certificates.
    fn asking(&self, name: Option<&str>) -> Option<(Arc<Site>, Arc<Shown>)> {
        let name = name.map(str::to_ascii_lowercase);
        let site = self.sites.find(name.as_deref())?;
        let shown = site.shown().filter(|shown| shown.clients.is_some())?;
        Some((site, shown))
    }
}

/// Shows the certificates of the site that is asked for.
#[derive(Debug)]
struct BySite {
    acceptor: Arc<Acceptor>,
    /// Of this one only, whose demands are made; else only of those that make none.
    asking: Option<Arc<Site>>,
}

impl ResolvesServerCert for BySite {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let site = self.acceptor.sites.find(name.as_deref())?;
        let shown = site.shown()?;
        if let Some(name) = name.filter(|name| site.lacks(name).is_some()) {
            site.tell_missing(&name);
            return None;
        }
        let fits = match &self.asking {
            Some(asking) => Arc::ptr_eq(asking, &site),
            None => shown.clients.is_none(),
        };
        if fits { shown.keys.resolve(hello) } else { None }
    }
}
