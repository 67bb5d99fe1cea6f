//! Answers of uWSGI: those of HTTP/1, or in the form of CGI.

use bytes::{Bytes, BytesMut};
use hemi_core::io::Outbox;
use hemi_proto::http1::HeadLimits;
use hemi_web::{BoxError, Interim};
use http::{HeaderMap, Method};

use crate::backends::cgi::{CGI_HEADS, Unframed};
use crate::backends::exchange::{Codec, Decoded, Head};
use crate::backends::http1::codec::Http1;

/// How an answer begins that is one of HTTP/1.
const HTTP: &[u8] = b"HTTP/";

/// One request, and the answer to it.
pub(super) struct Uwsgi {
    method: Method,
    form: Form,
}

enum Form {
    /// Nothing of the answer has come.
    Unknown,
    Http(Box<Http1>),
    Cgi(Unframed),
}

impl Uwsgi {
    pub(super) fn of(method: &Method) -> Self {
        Self { method: method.clone(), form: Form::Unknown }
    }

    fn codec(&mut self) -> Option<&mut dyn Answering> {
        match &mut self.form {
            Form::Unknown => None,
            Form::Http(http) => Some(&mut **http),
            Form::Cgi(cgi) => Some(cgi),
        }
    }
}

/// What of a codec is about the answer.
trait Answering {
    fn read_head(
        &mut self,
        buf: &mut BytesMut,
        hints: Option<&Interim>,
    ) -> Result<Option<Head>, BoxError>;
    fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, BoxError>;
    fn close(&mut self) -> Result<(), BoxError>;
}

impl<C: Codec> Answering for C {
    fn read_head(
        &mut self,
        buf: &mut BytesMut,
        hints: Option<&Interim>,
    ) -> Result<Option<Head>, BoxError> {
        Codec::read_head(self, buf, hints)
    }

    fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, BoxError> {
        Codec::decode(self, buf)
    }

    fn close(&mut self) -> Result<(), BoxError> {
        Codec::close(self)
    }
}

impl Codec for Uwsgi {
    fn put_data(&mut self, out: &mut Outbox, data: Bytes) {
        out.push(data);
    }

    fn put_end(&mut self, _: &mut Outbox, _: &HeaderMap) {}

    fn read_head(
        &mut self,
        buf: &mut BytesMut,
        hints: Option<&Interim>,
    ) -> Result<Option<Head>, BoxError> {
        if matches!(self.form, Form::Unknown) {
            let begun = buf.len().min(HTTP.len());
            self.form = match buf[..begun] == HTTP[..begun] {
                true if begun < HTTP.len() => return Ok(None),
                true => {
                    let (head_size, fields) = (CGI_HEADS.size, CGI_HEADS.fields);
                    let limits = HeadLimits { head_size, fields, ..HeadLimits::default() };
                    Form::Http(Box::new(Http1::answering(self.method.clone(), limits)))
                }
                false => Form::Cgi(Unframed::of(&self.method)),
            };
        }
        self.codec().map_or(Ok(None), |codec| codec.read_head(buf, hints))
    }

    fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, BoxError> {
        self.codec().map_or(Ok(Decoded::NeedMore), |codec| codec.decode(buf))
    }

    fn remaining(&self) -> Option<u64> {
        match &self.form {
            Form::Unknown => None,
            Form::Http(http) => http.remaining(),
            Form::Cgi(cgi) => cgi.remaining(),
        }
    }

    fn close(&mut self) -> Result<(), BoxError> {
        self.codec().map_or(Ok(()), |codec| codec.close())
    }

    fn is_ended(&self) -> bool {
        match &self.form {
            Form::Unknown => false,
            Form::Http(http) => http.is_ended(),
            Form::Cgi(cgi) => cgi.is_ended(),
        }
    }

    fn may_keep(&self) -> bool {
        false
    }
}
