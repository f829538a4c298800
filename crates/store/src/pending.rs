//! Owns a closure on its way to a thread of an executor, with the way back to whoever waits for it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::answer;
use crate::error::{StoreError, WriteError};
use crate::queue::Queue;
use crate::sql::Tx;

/// Queues a closure, as the executor's queue holds it, and waits for what becomes of it.
pub(crate) async fn queued<I, T, E, F>(
    queue: Arc<Queue<I>>,
    closure: F,
    item: impl FnOnce(Box<dyn Work>) -> I,
) -> Result<T, WriteError<E>>
where
    T: Send + 'static,
    E: Send + 'static,
    F: FnMut(&mut dyn Tx) -> Result<T, E> + Send + 'static,
{
    let (sender, receiver) = answer::channel();
    let pending = Pending { closure, result: None, sender };
    queue.push(item(Box::new(pending))).await.map_err(|_| StoreError::Closed)?;
    receiver.await.unwrap_or(Err(WriteError::Store(StoreError::Closed)))
}

/// A queued closure.
pub(crate) trait Work: Send {
    /// Runs the closure, perhaps once more; whether its changes are kept.
    fn run(&mut self, tx: &mut dyn Tx) -> bool;

    /// Answers the caller, once the fate of the transaction is known.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A closure, what it gave, and where that goes.
struct Pending<F, T, E> {
    closure: F,
    result: Option<Result<T, WriteError<E>>>,
    sender: answer::Sender<Result<T, WriteError<E>>>,
}

impl<F, T, E> Work for Pending<F, T, E>
where
    F: FnMut(&mut dyn Tx) -> Result<T, E> + Send,
    T: Send,
    E: Send,
{
    fn run(&mut self, tx: &mut dyn Tx) -> bool {
        let result = match catch_unwind(AssertUnwindSafe(|| (self.closure)(tx))) {
            Ok(result) => result.map_err(WriteError::Refused),
            Err(panic) => Err(WriteError::Panicked(panic_message(panic.as_ref()))),
        };
        self.result.insert(result).is_ok()
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let result = self.result.unwrap_or(Err(WriteError::Store(StoreError::Closed)));
        self.sender.send(committed.map_err(WriteError::Store).and(result));
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("of no text").to_owned()
}
