//! Takes the data of a part as they come: into memory while they are few, else to a file, in long
//! writes beside the core.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};

use super::MultipartConfig;
use super::temp_file::TempFile;

/// Bytes of a write. While one is under way as many are gathered for the next, and no more.
const BATCH: usize = 256 << 10;

/// What was stored.
#[derive(Debug)]
pub(super) enum Content {
    Memory(Bytes),
    File(TempFile),
}

#[derive(Debug)]
pub(super) struct Store {
    config: Arc<MultipartConfig>,
    gathered: Vec<u8>,
    writing: Option<JoinHandle<io::Result<Written>>>,
}

/// The file after a write, and the buffer that was written.
#[derive(Debug)]
struct Written {
    file: TempFile,
    spare: Vec<u8>,
}

impl Store {
    pub(super) fn new(config: Arc<MultipartConfig>) -> Self {
        Self { config, gathered: Vec::new(), writing: None }
    }

    pub(super) async fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.gathered.extend_from_slice(data);
        if self.gathered.len() >= BATCH && self.is_for_file() {
            self.flush().await?;
        }
        Ok(())
    }

    pub(super) async fn finish(mut self) -> io::Result<Content> {
        if !self.is_for_file() {
            return Ok(Content::Memory(self.gathered.into()));
        }
        if !self.gathered.is_empty() {
            self.flush().await?;
        }
        let written = self.written().await?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Content::File(written.file))
    }

    fn is_for_file(&self) -> bool {
        self.writing.is_some() || self.gathered.len() > self.config.memory_size
    }

    /// Has what was gathered written, once what was before it is.
    async fn flush(&mut self) -> io::Result<()> {
        let before = self.written().await?;
        let (file, spare) = before.map_or_else(Default::default, |w| (Some(w.file), w.spare));
        let mut batch = std::mem::replace(&mut self.gathered, spare);
        let config = self.config.clone();
        self.writing = Some(spawn_blocking(move || {
            let mut file = file.map_or_else(|| TempFile::create_within(&config.dir), Ok)?;
            file.write_all(&batch)?;
            batch.clear();
            Ok(Written { file, spare: batch })
        }));
        Ok(())
    }

    /// What the last write left, once it is over.
    async fn written(&mut self) -> io::Result<Option<Written>> {
        match self.writing.take() {
            Some(writing) => writing.await.map_err(io::Error::other)?.map(Some),
            None => Ok(None),
        }
    }
}
