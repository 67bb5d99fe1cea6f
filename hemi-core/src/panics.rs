//! Panics of users' code, caught where they belong.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::Poll;

/// A panic that was caught.
#[derive(Debug)]
pub struct Panicked(Box<dyn Any + Send>);

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(text(&*self.0))
    }
}

/// Runs a future to its end, or to its panic. Pin it first, as by [`std::pin::pin!`], so that it is not
/// kept twice.
///
/// # Errors
/// When it panics.
pub fn catch<F: Future + Unpin>(
    mut future: F,
) -> impl Future<Output = Result<F::Output, Panicked>> + Unpin {
    std::future::poll_fn(move |cx| {
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut future).poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(Panicked(panic))),
        }
    })
}

/// Calls a function, to its end or its panic.
///
/// # Errors
/// When it panics.
pub fn catch_call<R>(call: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(call)).map_err(Panicked)
}

/// What a panic said.
pub(crate) fn text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_error_and_its_text_is_kept() {
        assert_eq!(catch(pin!(async { 7 })).await.unwrap(), 7);
        let panicked = catch(pin!(async { panic!("number {}", 7) })).await.unwrap_err();
        assert_eq!(panicked.to_string(), "number 7");
    }
}
