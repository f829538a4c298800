//! Owns the way back from a thread to whoever waits: one value, sent once, awaited on any runtime or none. A sender that is
//! dropped unsent wakes the receiver with `None`, so that nobody waits for a dead thread.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

struct State<T> {
    value: Option<T>,
    sender_gone: bool,
    waker: Option<Waker>,
}

type Shared<T> = Arc<Mutex<State<T>>>;

/// The sending half.
pub(crate) struct Sender<T>(Shared<T>);

/// The receiving half: a future of the value, `None` if the sender went without sending.
pub(crate) struct Receiver<T>(Shared<T>);

/// A pair of connected halves.
pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Mutex::new(State { value: None, sender_gone: false, waker: None }));
    (Sender(shared.clone()), Receiver(shared))
}

/// Runs a future on this thread, parked while it waits. Never on a thread of an async runtime.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

impl<T> Sender<T> {
    pub(crate) fn send(self, value: T) {
        lock(&self.0).value = Some(value);
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut state = lock(&self.0);
            state.sender_gone = true;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Receiver<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = lock(&self.0);
        if state.sender_gone {
            return Poll::Ready(state.value.take());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// No code of ours panics while it holds the lock, so that a poisoned one is whole.
fn lock<T>(shared: &Shared<T>) -> MutexGuard<'_, State<T>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_arrives_from_another_thread() {
        let (sender, receiver) = channel();
        let thread = thread::spawn(move || sender.send(7));
        assert_eq!(block_on(receiver), Some(7));
        thread.join().unwrap();
    }

    #[test]
    fn dropped_sender_ends_the_wait() {
        let (sender, receiver) = channel::<i32>();
        let thread = thread::spawn(move || drop(sender));
        assert_eq!(block_on(receiver), None);
        thread.join().unwrap();
    }
}
