//! A session with a ZooKeeper, over the connection that it has now.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hemi_core::tls::Link;
use hemi_proto::zookeeper::{
    self, Answer, EVENT, PING, Request, encode, encode_connect, read_answer, read_connected,
    read_frame,
};
use hemi_rpc::{Endpoint, RegistryError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};

use super::super::PATIENCE;

pub(super) struct Session {
    link: Link,
    buffer: BytesMut,
    session: zookeeper::Session,
    timeout: Duration,
    /// The last change that was heard of.
    seen: i64,
    /// That of the last request.
    number: i32,
    /// Something that is watched has changed.
    pub(super) changed: bool,
}

/// Requests that are sent before their answers are read.
const AT_ONCE: usize = 256;

impl Session {
    /// Begins one that lasts so long without a connection, with some member.
    pub(super) async fn begin(
        addresses: &[Endpoint],
        ttl: Duration,
    ) -> Result<Self, RegistryError> {
        let new = zookeeper::Session::default();
        let begun = Self::connect(addresses, &new, ttl, 0).await?;
        begun.ok_or_else(|| RegistryError::new("ZooKeeper begins no session"))
    }

    /// The same session over another connection; none if it is over.
    pub(super) async fn resume(
        &self,
        addresses: &[Endpoint],
    ) -> Result<Option<Self>, RegistryError> {
        Self::connect(addresses, &self.session, self.timeout, self.seen).await
    }

    async fn connect(
        addresses: &[Endpoint],
        session: &zookeeper::Session,
        ttl: Duration,
        seen: i64,
    ) -> Result<Option<Self>, RegistryError> {
        let first = getrandom::u32().unwrap_or_default() as usize % addresses.len().max(1);
        let mut last = RegistryError::new("there is no address of a ZooKeeper");
        for address in addresses.iter().cycle().skip(first).take(addresses.len()) {
            let shaken = timeout(PATIENCE, Self::shake(address, session, ttl, seen)).await;
            match shaken.unwrap_or_else(|late| Err(RegistryError::new(late))) {
                Ok(connected) => return Ok(connected),
                Err(why) => last = RegistryError::new(format_args!("{address}: {why}")),
            }
        }
        Err(last)
    }

    async fn shake(
        address: &Endpoint,
        session: &zookeeper::Session,
        ttl: Duration,
        seen: i64,
    ) -> Result<Option<Self>, RegistryError> {
        let mut this = Self {
            link: address.connect(None).await?,
            buffer: BytesMut::new(),
            session: session.clone(),
            timeout: ttl,
            seen,
            number: 0,
            changed: false,
        };
        let mut hello = BytesMut::new();
        let ttl = i32::try_from(ttl.as_millis()).unwrap_or(i32::MAX);
        encode_connect(&mut hello, session, ttl, seen);
        this.link.write_all(&hello).await?;
        this.link.flush().await?;
        let connected = read_connected(this.frame().await?).map_err(RegistryError::new)?;
        if connected.timeout == 0 {
            return Ok(None);
        }
        this.timeout = Duration::from_millis(connected.timeout.into());
        this.session = connected.session;
        Ok(Some(this))
    }

    /// How long it lasts without a connection.
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Asks for these, and gives the answers in the same order.
    pub(super) async fn ask(
        &mut self,
        requests: &[Request<'_>],
    ) -> Result<Vec<Answer>, RegistryError> {
        let mut answers = Vec::new();
        for requests in requests.chunks(AT_ONCE) {
            let mut out = BytesMut::new();
            let mut numbers = Vec::new();
            for request in requests {
                let number = match request {
                    Request::Ping => PING,
                    _ => {
                        self.number = self.number % i32::MAX + 1;
                        self.number
                    }
                };
                numbers.push(number);
                encode(&mut out, number, request);
            }
            self.link.write_all(&out).await?;
            self.link.flush().await?;
            for number in numbers {
                answers.push(timeout(PATIENCE, self.answer(number)).await.map_err(late)??);
            }
        }
        Ok(answers)
    }

    /// Waits until something has changed that is watched, and keeps the session alive meanwhile.
    pub(super) async fn until_changed(&mut self) -> Result<(), RegistryError> {
        while !self.changed {
            let pause = sleep(self.timeout / 3);
            tokio::select! {
                frame = self.frame() => drop(self.take(frame?)?),
                () = pause => drop(self.ask(&[Request::Ping]).await?),
            }
        }
        Ok(())
    }

    /// Ends it, and with it what is there for as long as it.
    pub(super) async fn close(mut self) -> Result<(), RegistryError> {
        self.ask(&[Request::Close]).await.map(drop)
    }

    async fn answer(&mut self, number: i32) -> Result<Answer, RegistryError> {
        loop {
            let frame = self.frame().await?;
            match self.take(frame)? {
                Some(answer) if answer.number == number => return Ok(answer),
                Some(_) => return Err(RegistryError::new("ZooKeeper answers something else")),
                None => {}
            }
        }
    }

    /// Reads an answer; what is none is noted.
    fn take(&mut self, frame: Bytes) -> Result<Option<Answer>, RegistryError> {
        let answer = read_answer(frame).map_err(RegistryError::new)?;
        self.seen = self.seen.max(answer.seen);
        self.changed |= answer.number == EVENT;
        Ok((answer.number != EVENT).then_some(answer))
    }

    async fn frame(&mut self) -> Result<Bytes, RegistryError> {
        loop {
            if let Some(frame) = read_frame(&mut self.buffer).map_err(RegistryError::new)? {
                return Ok(frame);
            }
            if self.link.read_buf(&mut self.buffer).await? == 0 {
                return Err(RegistryError::new("ZooKeeper has closed the connection"));
            }
        }
    }
}

fn late(_: tokio::time::error::Elapsed) -> RegistryError {
    RegistryError::new("ZooKeeper does not answer in time")
}
