//! What the program says about itself, on the standard error.

use std::sync::Arc;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::journal::{Journal, Tee};
use crate::recent::Recent;

/// Begins to log: into a journal too, if there is one. What comes back remembers the last lines.
pub(crate) fn begin(debug: u8, journal: Option<Arc<Journal>>) -> Recent {
    let level = match debug {
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let recent = Recent::default();
    let lines = tracing_subscriber::fmt::layer()
        .with_ansi(rustix::termios::isatty(std::io::stderr()))
        .with_writer(move || Tee(journal.clone()))
        .with_target(false);
    // Whoever has begun before goes on.
    let _ = tracing_subscriber::registry().with(level).with(lines).with(recent.clone()).try_init();
    recent
}
