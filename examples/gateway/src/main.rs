//! A service of a `.proto` file that is asked for by plain HTTP with JSON, as the file says by `google.api.http`, by gRPC
//! and by Connect, beside the other pages of a webapp. Usage: `gateway [ADDRESS]`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use hemi_core::gate::GateConfig;
use hemi_core::{Error, Lifecycle, Parts, Result, serve_parts};
use hemi_rpc::{GrpcService, GrpcServices};
use hemi_web::{Handlet, HttpConfig, HttpxServer, Reply, Request, Rule, Webapp};
use tonic::{Response, Status};

use self::proto::bookshelf_server::{Bookshelf, BookshelfServer};
use self::proto::{AddBookRequest, Book, ListBooksRequest, ListBooksResponse};

#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "it is generated")]
mod proto {
    tonic::include_proto!("bookshelf");

    pub(crate) const DESCRIPTORS: &[u8] =
        include_bytes!(concat!(env!("OUT_DIR"), "/bookshelf.bin"));
}

/// Books by their shelves.
#[derive(Default)]
struct Shelves(Mutex<HashMap<String, Vec<Book>>>);

#[tonic::async_trait]
impl Bookshelf for Shelves {
    async fn add_book(
        &self,
        request: tonic::Request<AddBookRequest>,
    ) -> Result<Response<Book>, Status> {
        let AddBookRequest { shelf, book } = request.into_inner();
        let book = book.filter(|book| !book.title.is_empty());
        let book = book.ok_or_else(|| Status::invalid_argument("the book has no title"))?;
        let mut shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.entry(shelf).or_default().push(book.clone());
        Ok(Response::new(book))
    }

    async fn list_books(
        &self,
        request: tonic::Request<ListBooksRequest>,
    ) -> Result<Response<ListBooksResponse>, Status> {
        let ListBooksRequest { shelf, least_pages } = request.get_ref();
        let shelves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let books = shelves.get(shelf).ok_or_else(|| Status::not_found(format!("no {shelf}")))?;
        let books = books.iter().filter(|book| book.pages >= *least_pages).cloned().collect();
        Ok(Response::new(ListBooksResponse { books }))
    }
}

/// What else there is.
struct Page;

impl Lifecycle for Page {}

impl Handlet for Page {
    async fn handle(&self, _: &mut Request) -> Reply {
        "Ask for /v1/shelves/1/books\n".into()
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3080".to_owned());
    let address = address.parse().map_err(|e| Error::other(format!("{address}: {e}")))?;

    let service = GrpcService::new(BookshelfServer::new(Shelves::default()));
    let services = GrpcServices::new().service(service.described_by(proto::DESCRIPTORS));
    let rules = Webapp::new("books").rule(Rule::new().handlet(services));
    let mut parts = Parts::new();
    let webapp = rules.rule(Rule::new().handlet(Page)).install(&mut parts)?;
    // For clients of gRPC.
    let http = HttpConfig { h2c_prior_knowledge: true, ..HttpConfig::default() };
    let server = HttpxServer::with_config(address, [webapp], http, GateConfig::default());
    server.install("main", &mut parts)?;
    serve_parts(parts).await
}
