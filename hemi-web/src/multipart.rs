//! Forms that came as `multipart/form-data`, read part by part while they arrive.

mod file;
pub(crate) mod store;
mod temp_file;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hemi_proto::multipart::{
    Boundary, MultipartError, MultipartEvent, MultipartLimits, MultipartReader, PartHead,
};
use http::HeaderMap;

pub use file::Upfile;

use crate::{Body, FormError, Request};
use store::Store;

/// Bounds on a form with files, and where the files go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MultipartConfig {
    /// Bytes of the whole as sent; by default as many as the webapp's `maxBodySize` lets through, which
    /// holds in any case.
    pub size: u64,
    /// Bytes of a file; by default as many as of the whole.
    pub file_size: u64,
    /// Bytes of a part that is no file, or is read into memory; default 1 MiB.
    pub field_size: u64,
    /// Parts, files or not; default 1,000.
    pub parts: usize,
    /// Bytes up to which a file that is saved stays in memory; default 64 KiB.
    pub memory_size: usize,
    /// The directory of files until they are moved to their place; default `/var/tmp`. It is made when it
    /// is missing. Within a file system they are moved without a copy.
    pub dir: PathBuf,
}

impl Default for MultipartConfig {
    fn default() -> Self {
        Self {
            size: u64::MAX,
            file_size: u64::MAX,
            field_size: 1 << 20,
            parts: MultipartLimits::default().parts,
            memory_size: 64 << 10,
            dir: "/var/tmp".into(),
        }
    }
}

/// Reads the parts of a form with files, in the order they come.
///
/// ```
/// use hemi_web::{FormError, MultipartConfig, Request};
///
/// async fn store(req: &mut Request) -> Result<String, FormError> {
///     let mut form = req.multipart(MultipartConfig::default())?;
///     let mut title = String::new();
///     while let Some(part) = form.next_part().await? {
///         match part.name() {
///             "title" => title = part.text().await?,
///             "photo" => part.save().await?.persist("/srv/photos/new.jpeg").await?,
///             _ => {}
///         }
///     }
///     Ok(title)
/// }
/// ```
#[derive(Debug)]
pub struct Multipart {
    body: Body,
    config: Arc<MultipartConfig>,
    reader: MultipartReader,
    /// What has come and is not read.
    piece: Bytes,
    received: u64,
    at: At,
}

/// Where in the form the reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Between,
    Part,
    End,
}

impl Request {
    /// Begins to read a form that comes as `multipart/form-data`. The content leaves the request.
    ///
    /// # Errors
    /// If the content is none, or is known to be too long.
    pub fn multipart(
        &mut self,
        config: impl Into<Arc<MultipartConfig>>,
    ) -> Result<Multipart, FormError> {
        let config = config.into();
        let boundary = match Boundary::of(self.form_type()?) {
            Err(MultipartError::MediaType) => return Err(FormError::MediaType),
            boundary => boundary?,
        };
        if self.body().len().is_some_and(|len| len > config.size) {
            return Err(FormError::TooLarge("form", config.size));
        }
        let limits = MultipartLimits { parts: config.parts, ..MultipartLimits::default() };
        Ok(Multipart {
            body: self.take_body(),
            config,
            reader: MultipartReader::new(&boundary, limits),
            piece: Bytes::new(),
            received: 0,
            at: At::Between,
        })
    }
}

impl Multipart {
    /// The next part, once what is left of the one before is skipped; none after the last.
    ///
    /// # Errors
    /// Any [`FormError`] but those of fields. Nothing more can be read then.
    pub async fn next_part(&mut self) -> Result<Option<Part<'_>>, FormError> {
        while self.at != At::End {
            match self.event().await? {
                MultipartEvent::Part(head) => {
                    self.at = At::Part;
                    return Ok(Some(Part { form: self, head, len: 0 }));
                }
                MultipartEvent::End => self.at = At::End,
                MultipartEvent::PartEnd => self.at = At::Between,
                MultipartEvent::Data(_) => {}
            }
        }
        Ok(None)
    }

    async fn event(&mut self) -> Result<MultipartEvent, FormError> {
        loop {
            if let Some(event) = self.reader.next(&mut self.piece)? {
                return Ok(event);
            }
            let Some(piece) = self.body.chunk().await.transpose()? else {
                self.reader.finish()?;
                return Ok(MultipartEvent::End);
            };
            self.received += piece.len() as u64;
            if self.received > self.config.size {
                return Err(FormError::TooLarge("form", self.config.size));
            }
            self.piece = piece;
        }
    }
}

/// A part of a form, whose data is still to come. Dropping it skips them.
#[derive(Debug)]
pub struct Part<'a> {
    form: &'a mut Multipart,
    head: PartHead,
    /// Bytes of data so far.
    len: u64,
}

impl Part<'_> {
    /// The name of the form's field.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.head.name
    }

    /// Whether it is a file. A form sends one without a name for a file that was not chosen.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.head.filename.is_some()
    }

    /// The name of the file, without directories and control characters: it can be joined to any path.
    #[must_use]
    pub fn file_name(&self) -> Option<Cow<'_, str>> {
        self.head.file_name()
    }

    /// What the client says that it is.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.head.content_type()?.to_str().ok()
    }

    /// The fields of the part.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The next piece of its data; none after the last.
    ///
    /// # Errors
    /// Any [`FormError`] but those of fields.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FormError> {
        if self.form.at != At::Part {
            return Ok(None);
        }
        let MultipartEvent::Data(data) = self.form.event().await? else {
            self.form.at = At::Between;
            return Ok(None);
        };
        self.len += data.len() as u64;
        let config = &self.form.config;
        let (what, most) = match self.is_file() {
            true => ("file", config.file_size),
            false => ("field", config.field_size),
        };
        if self.len > most { Err(FormError::TooLarge(what, most)) } else { Ok(Some(data)) }
    }

    /// All of its data in memory: up to [`MultipartConfig::field_size`], even of a file.
    ///
    /// # Errors
    /// See [`chunk`](Self::chunk).
    pub async fn bytes(mut self) -> Result<Bytes, FormError> {
        let most = self.form.config.field_size;
        // Copied, for a short slice would hold the whole read buffer.
        let mut all = BytesMut::new();
        while let Some(data) = self.chunk().await? {
            if self.len > most {
                return Err(FormError::TooLarge("part", most));
            }
            all.extend_from_slice(&data);
        }
        Ok(all.freeze())
    }

    /// The same as text.
    ///
    /// # Errors
    /// See [`chunk`](Self::chunk); [`FormError::NotText`] if it is not UTF-8.
    pub async fn text(mut self) -> Result<String, FormError> {
        let name = std::mem::take(&mut self.head.name);
        let bytes = self.bytes().await?;
        String::from_utf8(bytes.into()).map_err(|_| FormError::NotText(name))
    }

    /// Stores it: in memory if it is small, else in a file that vanishes unless it is given a place.
    ///
    /// # Errors
    /// See [`chunk`](Self::chunk); [`FormError::Store`] if a file can't be written.
    pub async fn save(mut self) -> Result<Upfile, FormError> {
        let mut store = Store::new(self.form.config.clone());
        while let Some(data) = self.chunk().await? {
            store.write(&data).await?;
        }
        Ok(Upfile::new(&self.head, self.len, store.finish().await?))
    }
}
