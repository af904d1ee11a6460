//! Calls that must end, and calls that are cut short.

use super::finding::Wrong;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// What `call` gives, if it ends in `budget`.
pub(super) async fn within<T>(
    budget: Duration,
    what: &str,
    call: impl Future<Output = T>,
) -> Result<T, Wrong> {
    tokio::time::timeout(budget, call).await.map_err(|_| Wrong {
        found: format!("{what} did not end"),
        expected: format!("an end within its budget of {budget:?}"),
    })
}

/// What `call` gives if it ends within `polls` polls and `budget`; nothing if it then still waits.
pub(super) async fn polled<F: Future>(
    budget: Duration,
    mut call: Pin<&mut F>,
    polls: usize,
) -> Option<F::Output> {
    let mut left = polls;
    let cut_short = poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match call.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    tokio::time::timeout(budget, cut_short).await.ok().flatten()
}
