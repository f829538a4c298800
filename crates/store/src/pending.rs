//! Owns a closure on its way to a thread of an executor, with the way back to whoever waits for it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::answer;
use crate::error::{StoreError, WriteError};
use crate::sql::Tx;

/// A queued closure.
pub(crate) trait Work: Send {
    /// Runs the closure, perhaps once more; whether its changes are kept.
    fn run(&mut self, tx: &mut dyn Tx) -> bool;

    /// Answers the caller, once the fate of the transaction is known.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

/// A closure, what it gave, and where that goes.
pub(crate) struct Pending<F, T, E> {
    closure: F,
    result: Option<Result<T, WriteError<E>>>,
    sender: answer::Sender<Result<T, WriteError<E>>>,
}

impl<F, T, E> Pending<F, T, E> {
    pub(crate) fn new(closure: F) -> (Self, answer::Receiver<Result<T, WriteError<E>>>) {
        let (sender, receiver) = answer::channel();
        (Self { closure, result: None, sender }, receiver)
    }
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
