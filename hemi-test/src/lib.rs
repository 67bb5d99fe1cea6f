//! What only tests and the bench need: raw clients, running programs, peers, temporary sites.
//!
//! A typical integration test starts the program under test, speaks raw bytes to it and looks at
//! the parsed answer:
//!
//! ```no_run
//! use hemi_test::{Program, Site};
//!
//! # fn main() -> std::io::Result<()> {
//! let site = Site::new()?.file("a.txt", "hello")?;
//! let config = format!(
//!     r#"stage {{
//!         webapp "w" {{ .hostnames = ("*")  .webRoot = "{}"  rule {{ static {{}} }} }}
//!         httpxServer "s" {{ .address = "127.0.0.1:@PORT@"  .webapps = ("w") }}
//!     }}"#,
//!     site.root().display()
//! );
//! let gorox = Program::serve("target/debug/gorox", &config)?;
//! let mut client = gorox.connect()?;
//! client.send("GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n")?;
//! assert_eq!(client.read_response()?.text(), "hello");
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here sleeps for a fixed time: every wait polls a condition and has a deadline. Every
//! process is ended by its id when its handle is dropped.

#![forbid(unsafe_code)]

mod browser;
mod dir;
mod load;
pub mod peer;
pub mod process;
mod program;
pub mod raw;
mod reply;
pub mod tls;
mod wait;

pub use browser::Browser;
pub use dir::{Site, TempDir};
pub use load::{Clients, Load, Seen};
pub use peer::peer;
pub use program::{Program, Signal, free_port, io_driver};
pub use reply::{Malformed, Reply};
pub use wait::{eventually, poll};
