//! A library that tells what it was asked.

use std::pin::Pin;

use futures_util::stream::{self, Stream};
use hemi_rpc::tonic::{self, Request, Response, Status};

/// Made of the `.proto` files.
#[allow(missing_docs, clippy::all, clippy::pedantic, reason = "it is generated")]
pub mod proto {
    pub mod google {
        pub mod api {
            hemi_rpc::tonic::include_proto!("google.api");
        }
    }
    pub mod library {
        pub mod v1 {
            hemi_rpc::tonic::include_proto!("library.v1");
        }
    }
}

use self::proto::google::api::HttpBody;
use self::proto::library::v1::library_server::Library as Served;
pub use self::proto::library::v1::library_server::LibraryServer;
use self::proto::library::v1::{
    Book, CreateBookRequest, DeleteBookRequest, GetBookRequest, ListBooksRequest,
    ListBooksResponse, WriteBookRequest,
};

/// The service.
#[derive(Clone, Copy, Debug)]
pub struct Library;

type Books = Pin<Box<dyn Stream<Item = Result<Book, Status>> + Send>>;

fn titled(title: String) -> Book {
    Book { title, ..Book::default() }
}

fn books(asked: &ListBooksRequest) -> impl Iterator<Item = Book> + use<> {
    let parent = asked.parent.clone();
    (0..asked.page_size)
        .map(move |n| Book { name: format!("{parent}/books/{n}"), ..Book::default() })
}

#[tonic::async_trait]
impl Served for Library {
    async fn get_book(&self, request: Request<GetBookRequest>) -> Result<Response<Book>, Status> {
        let GetBookRequest { name, kind, page_names, filter } = request.into_inner();
        let mut told = format!("{kind} {page_names:?}");
        if let Some(filter) = filter {
            let age = filter.age.map(|age| (age.seconds, age.nanos));
            let other = filter.other.map(|other| other.lent);
            told += &format!(" {} {:?} {age:?} {other:?}", filter.lent, filter.weights);
        }
        Ok(Response::new(Book { name, ..titled(told) }))
    }

    async fn list_books(
        &self,
        request: Request<ListBooksRequest>,
    ) -> Result<Response<ListBooksResponse>, Status> {
        let books = books(request.get_ref()).collect();
        Ok(Response::new(ListBooksResponse { books, next_page: "next".to_owned() }))
    }

    async fn create_book(
        &self,
        request: Request<CreateBookRequest>,
    ) -> Result<Response<Book>, Status> {
        let CreateBookRequest { parent, book, check } = request.into_inner();
        let book = book.ok_or_else(|| Status::invalid_argument("there is no book"))?;
        Ok(Response::new(Book { name: format!("{parent} {check}"), ..book }))
    }

    async fn delete_book(
        &self,
        request: Request<DeleteBookRequest>,
    ) -> Result<Response<()>, Status> {
        match request.get_ref().name.as_str() {
            name if name.ends_with("/none") => Err(Status::not_found(format!("no {name}"))),
            _ => Ok(Response::new(())),
        }
    }

    type WatchBooksStream = Books;

    async fn watch_books(
        &self,
        request: Request<ListBooksRequest>,
    ) -> Result<Response<Books>, Status> {
        let asked = request.get_ref();
        let ends = asked.parent.ends_with("/broken");
        let ends = ends.then(|| Err(Status::data_loss("no more can be read")));
        let books = books(asked).map(Ok).chain(ends);
        Ok(Response::new(Box::pin(stream::iter(books.collect::<Vec<_>>()))))
    }

    async fn read_book(
        &self,
        request: Request<GetBookRequest>,
    ) -> Result<Response<HttpBody>, Status> {
        let data = request.into_inner().name.into_bytes();
        let content_type = "text/plain".to_owned();
        Ok(Response::new(HttpBody { content_type, data, ..HttpBody::default() }))
    }

    async fn write_book(
        &self,
        request: Request<WriteBookRequest>,
    ) -> Result<Response<Book>, Status> {
        let WriteBookRequest { name, text } = request.into_inner();
        let HttpBody { content_type, data, .. } = text.unwrap_or_default();
        let text = String::from_utf8_lossy(&data);
        Ok(Response::new(Book { name, ..titled(format!("{content_type} {text}")) }))
    }
}
