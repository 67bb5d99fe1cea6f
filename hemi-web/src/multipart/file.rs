//! A file of a form that has come as a whole.

use std::io::{self, Write};
use std::path::PathBuf;

use hemi_proto::multipart::PartHead;
use tokio::task::spawn_blocking;

use super::store::Content;
use super::temp_file::write_to;
use crate::Body;

/// A file of a form. It vanishes on drop, unless it is given a place.
#[derive(Debug)]
pub struct Upfile {
    name: String,
    file_name: Option<String>,
    content_type: Option<String>,
    size: u64,
    content: Content,
}

impl Upfile {
    /// Takes copies of what the head says: it is part of the read buffer.
    pub(super) fn new(head: &PartHead, size: u64, content: Content) -> Self {
        let content_type = head.content_type().and_then(|value| value.to_str().ok());
        Self {
            name: head.name.clone(),
            file_name: head.file_name().map(Into::into),
            content_type: content_type.map(str::to_owned),
            size,
            content,
        }
    }

    /// The name of the form's field.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the file, without directories and control characters: it can be joined to any path.
    /// None if nothing was left of it, or the part was no file.
    #[must_use]
    pub fn file_name(&self) -> Option<&str> {
        self.file_name.as_deref()
    }

    /// What the client says that it is.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// Its bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Moves it to its place, in one step, over whatever file is there; only its owner may read it. In
    /// another file system than [`MultipartConfig::dir`](super::MultipartConfig::dir) it is copied first.
    ///
    /// # Errors
    /// What the system says; the file is gone then.
    pub async fn persist(self, path: impl Into<PathBuf>) -> io::Result<()> {
        let path = path.into();
        let persisted = spawn_blocking(move || match self.content {
            Content::File(file) => file.persist(&path),
            Content::Memory(bytes) => write_to(&path, |file| file.write_all(&bytes)),
        });
        persisted.await.map_err(io::Error::other)?
    }

    /// Its content, for instance to read it into memory or to send it on.
    #[must_use]
    pub fn into_body(self) -> Body {
        match self.content {
            Content::Memory(bytes) => bytes.into(),
            Content::File(file) => Body::file(file.into_file(), 0..self.size),
        }
    }
}
