//! Where a leader can be asked: its control socket, and the ports of the control API and the admin pages.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use hemi_core::listen::{Bound, Endpoint};
use tracing::{info, warn};

use super::answers::Asker;
use super::{Leader, refused};
use crate::admin::{self, Admin, Places, Site, Token};
use crate::control::Refused;
use crate::dirs::Home;
use crate::options::Options;

/// What can be moved.
#[derive(Clone, Copy)]
pub(super) enum Place {
    Cmdui,
    Webui,
}

/// Where a leader could be asked, for its successor.
#[derive(Default)]
pub(super) struct Doors {
    pub(super) places: Places,
    pub(super) sockets: Vec<(Endpoint, Bound)>,
}

impl Place {
    fn name(self) -> &'static str {
        match self {
            Self::Cmdui => "cmdui",
            Self::Webui => "webui",
        }
    }
}

impl Leader {
    /// Opens the control socket, and the ports: those of the options, or where the leader before this one had
    /// them. Without any it serves all the same.
    pub(super) fn open_control(&self, control: Asker, options: &Options, left: Option<Doors>) {
        let Some(home) = &self.home else { return };
        let is_port = |place: &String| !place.contains('/');
        let (places, cmdui, webui, sockets) = match left {
            Some(Doors { places, sockets }) => {
                let (cmdui, webui) = (places.cmdui, places.webui);
                let text = |address: Option<SocketAddr>| address.map(|address| address.to_string());
                (places, text(cmdui), text(webui), sockets)
            }
            None => {
                let cmdui = options.cmdui.clone().filter(is_port);
                (Places::default(), cmdui, options.webui.clone(), vec![])
            }
        };
        let token = Token::in_file(&home.token()).and_then(|token| {
            let viewer = home.viewer();
            Ok(match viewer.exists() {
                true => token.viewer(&Token::in_file(&viewer)?),
                false => token,
            })
        });
        let opened = token.and_then(|token| {
            let hosts = options.admin_hosts.clone();
            let site = Site::new(self.program.name, Arc::new(control), token, hosts);
            let identity = options.admin_identity();
            let admin = Admin::open(Arc::new(site), identity, Places::default(), sockets);
            *self.admin.borrow_mut() = Some(admin.map_err(|e| e.to_string())?);
            self.place_socket(places.socket.unwrap_or_else(|| home.socket()))
        });
        if let Err(e) = opened {
            warn!("no control socket: {e}");
        }
        for (place, address) in [(Place::Cmdui, cmdui), (Place::Webui, webui)] {
            match address.map(|address| self.place(place, Some(&address))) {
                None => {}
                Some(Ok(placed)) => info!("{placed}"),
                Some(Err(refused)) => warn!("{}", refused.message),
            }
        }
        if let Some(lock) = &*self.lock.borrow()
            && let Err(e) = lock.sign()
        {
            warn!("cannot write the pid file: {e}");
        }
    }

    /// Where it can be asked, for its successor; none if it can't be.
    pub(super) fn doors(&self) -> std::io::Result<Option<Doors>> {
        let admin = self.admin.borrow();
        let Some(admin) = admin.as_ref() else { return Ok(None) };
        let places = Places { socket: self.socket.borrow().clone(), ..admin.places().clone() };
        Ok(Some(Doors { places, sockets: admin.share()? }))
    }

    /// Opens the control socket at this path. One that is there belongs to a leader that has died, or that
    /// this one follows: it is replaced by one that listens, so that there is always one that does.
    fn place_socket(&self, path: PathBuf) -> Result<(), String> {
        let mut admin = self.admin.borrow_mut();
        let admin = admin.as_mut().ok_or("there are no servers for it")?;
        let fresh = path.with_added_extension(std::process::id().to_string());
        let places = Places { socket: Some(fresh.clone()), ..admin.places().clone() };
        admin.place(places).map_err(|e| e.to_string())?;
        std::fs::rename(&fresh, &path).map_err(|e| format!("{}: {e}", path.display()))?;
        if let Some(before) = self.socket.borrow_mut().replace(path.clone())
            && before != path
        {
            let _ = std::fs::remove_file(before);
        }
        Ok(())
    }

    /// Moves the control API or the admin pages: to an address; the API to the path of a socket as well.
    /// Without an address their port closes.
    pub(super) fn place(&self, place: Place, address: Option<&str>) -> Result<String, Refused> {
        self.goes_on()?;
        if let (Place::Cmdui, Some(path)) = (place, address.filter(|path| path.contains('/'))) {
            self.place_socket(path.into()).map_err(refused)?;
            return Ok(format!("the control socket is {path}"));
        }
        let address = address.map(admin::address).transpose().map_err(refused)?;
        let mut admin = self.admin.borrow_mut();
        let admin = admin.as_mut().ok_or_else(|| refused("there are no servers for it"))?;
        let mut places = admin.places().clone();
        match place {
            Place::Cmdui => places.cmdui = address,
            Place::Webui => places.webui = address,
        }
        admin.place(places).map_err(|e| refused(e.to_string()))?;
        let name = place.name();
        let at = admin.addresses().into_iter().find(|(server, _)| server == name);
        let token = self.home.as_ref().map(Home::token).unwrap_or_default();
        let open = |(_, at)| format!("{name} is at {at}, with the token in {}", token.display());
        Ok(at.map_or(format!("{name} is closed"), open))
    }
}
