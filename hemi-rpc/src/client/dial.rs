//! The place of one connection, which is made when it is needed.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::timeout;

use super::Shared;
use super::conn::Conn;
use super::driver::Driver;
use super::{Endpoint, hrpc};
use crate::RpcError;

/// A connection.
#[derive(Clone)]
pub(super) enum Line {
    Rpcx(Arc<Conn>),
    Hrpc(Arc<hrpc::Conn>),
}

impl Line {
    fn is_over(&self) -> bool {
        match self {
            Self::Rpcx(conn) => conn.has_ended(),
            Self::Hrpc(conn) => conn.is_over(),
        }
    }

    fn close(&self) {
        match self {
            Self::Rpcx(conn) => conn.close(),
            Self::Hrpc(conn) => conn.close(),
        }
    }
}

/// Has a connection, or not.
#[derive(Default)]
pub(super) struct Slot {
    conn: Mutex<Option<Line>>,
    /// Held by the one who connects; others wait for what comes of it.
    dialing: tokio::sync::Mutex<Dialed>,
}

/// What came of connecting the last time, if that failed.
type Dialed = Option<RpcError>;

impl Slot {
    /// The connection; made now, if there is none that works.
    pub(super) async fn conn(&self, shared: &Arc<Shared>) -> Result<Line, RpcError> {
        if let Some(conn) = self.working() {
            return Ok(conn);
        }
        let is_tried = self.dialing.try_lock().is_err();
        let mut dialed = self.dialing.lock().await;
        if let Some(conn) = self.working() {
            return Ok(conn);
        }
        // Who waited for it need not wait as long again.
        if is_tried && let Some(e) = &*dialed {
            return Err(e.clone());
        }
        let connecting = shared.endpoint.connect(shared.config.tls.as_ref());
        let connected = timeout(shared.config.connect_timeout, connecting).await;
        let socket = match connected {
            Ok(Ok(socket)) => Ok(socket),
            Ok(Err(e)) => Err(e.to_string()),
            Err(_) => Err("it takes too long".to_owned()),
        };
        let socket = socket.map_err(|why| {
            let e = RpcError::Unreachable(format!("{}: {why}", shared.endpoint).into());
            *dialed = Some(e.clone());
            e
        })?;
        *dialed = None;
        let line = match shared.endpoint {
            Endpoint::Hrpc(_) => {
                let conn = Arc::new(hrpc::Conn::new(&shared.config));
                tokio::spawn(hrpc::Driver::new(socket, conn.clone(), shared.clone()).run());
                Line::Hrpc(conn)
            }
            _ => {
                let conn = Arc::new(Conn::new(shared.config.max_unsent));
                tokio::spawn(Driver::new(socket, conn.clone(), shared.clone()).run());
                Line::Rpcx(conn)
            }
        };
        *self.lock() = Some(line.clone());
        Ok(line)
    }

    /// Nobody will call any more.
    pub(super) fn close(&self) {
        if let Some(conn) = self.lock().take() {
            conn.close();
        }
    }

    fn working(&self) -> Option<Line> {
        self.lock().as_ref().filter(|conn| !conn.is_over()).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Line>> {
        self.conn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
