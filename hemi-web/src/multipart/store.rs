//! Takes the data of a part as they come: into memory while they are few, else to a file, in long
//! writes beside the core.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::spawn_blocking;

use super::MultipartConfig;
use super::temp_file::TempFile;

/// Bytes of a write. The kernel takes what comes meanwhile, so that one buffer is enough.
const BATCH: usize = 256 << 10;

/// What was stored.
#[derive(Debug)]
pub(crate) enum Content {
    Memory(Bytes),
    File(TempFile),
}

#[derive(Debug)]
pub(crate) struct Store {
    config: Arc<MultipartConfig>,
    gathered: Vec<u8>,
    file: Option<TempFile>,
}

impl Store {
    pub(crate) fn new(config: Arc<MultipartConfig>) -> Self {
        Self { config, gathered: Vec::new(), file: None }
    }

    pub(crate) async fn write(&mut self, data: &[u8]) -> io::Result<()> {
        let memory = self.config.memory_size;
        let len = self.gathered.len() + data.len();
        if len > if self.file.is_some() { BATCH } else { BATCH.max(memory) } {
            self.file = Some(self.flush().await?);
        } else if len > memory {
            // It will be a file: what is gathered need not move once more.
            self.gathered.reserve_exact(BATCH.saturating_sub(self.gathered.len()));
        }
        self.gathered.extend_from_slice(data);
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> io::Result<Content> {
        if self.file.is_none() && self.gathered.len() <= self.config.memory_size {
            return Ok(Content::Memory(self.gathered.into()));
        }
        self.flush().await.map(Content::File)
    }

    /// Writes what was gathered, to the file there is or a new one.
    async fn flush(&mut self) -> io::Result<TempFile> {
        let (config, file) = (self.config.clone(), self.file.take());
        let mut batch = std::mem::take(&mut self.gathered);
        let write = move || {
            let mut file = file.map_or_else(|| TempFile::create_within(&config.dir), Ok)?;
            file.write_all(&batch)?;
            batch.clear();
            io::Result::Ok((file, batch))
        };
        let (file, batch) = spawn_blocking(write).await.map_err(io::Error::other)??;
        self.gathered = batch;
        Ok(file)
    }
}
