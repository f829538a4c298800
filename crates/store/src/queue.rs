//! Owns the bounded queue in front of a thread: async producers wait for room without blocking their worker, the consuming
//! threads block. First come, first served; closing it lets the consumers finish what is queued.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// The queue was closed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed;

pub(crate) struct Queue<T> {
    capacity: usize,
    state: Mutex<State<T>>,
    filled: Condvar,
}

struct State<T> {
    items: VecDeque<T>,
    producers: Vec<Waker>,
    closed: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        let state = State { items: VecDeque::new(), producers: Vec::new(), closed: false };
        Self { capacity, state: Mutex::new(state), filled: Condvar::new() }
    }

    /// Adds an item, once there is room.
    pub(crate) async fn push(&self, item: T) -> Result<(), Closed> {
        let mut item = Some(item);
        poll_fn(|context| {
            let mut state = self.lock();
            if state.closed {
                return Poll::Ready(Err(Closed));
            }
            if state.items.len() >= self.capacity {
                state.producers.push(context.waker().clone());
                return Poll::Pending;
            }
            state.items.extend(item.take());
            drop(state);
            self.filled.notify_one();
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Takes up to `most` items, waiting for the first; empty once the queue is closed and drained.
    pub(crate) fn pop(&self, most: usize) -> Vec<T> {
        let mut state = self.lock();
        while state.items.is_empty() && !state.closed {
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let count = state.items.len().min(most);
        let items = state.items.drain(..count).collect();
        let producers = std::mem::take(&mut state.producers);
        drop(state);
        producers.into_iter().for_each(Waker::wake);
        items
    }

    /// Refuses further items.
    pub(crate) fn close(&self) {
        let producers = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.producers)
        };
        self.filled.notify_all();
        producers.into_iter().for_each(Waker::wake);
    }

    /// No code of ours panics while it holds the lock, so that a poisoned one is whole.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;
    use crate::answer::block_on;

    #[test]
    fn takes_in_order_and_at_most_as_many() {
        let queue = Queue::new(8);
        for n in 0..5 {
            block_on(queue.push(n)).unwrap();
        }
        assert_eq!(queue.pop(3), [0, 1, 2]);
        assert_eq!(queue.pop(3), [3, 4]);
    }

    #[test]
    fn full_queue_makes_producers_wait() {
        let queue = Arc::new(Queue::new(1));
        let producer = thread::spawn({
            let queue = queue.clone();
            move || (0..1000).for_each(|n| block_on(queue.push(n)).unwrap())
        });
        let mut got = Vec::new();
        while got.len() < 1000 {
            let items = queue.pop(64);
            assert_eq!(items.len(), 1);
            got.extend(items);
        }
        producer.join().unwrap();
        assert_eq!(got, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn closed_queue_drains_then_ends() {
        let queue = Queue::new(2);
        block_on(queue.push(1)).unwrap();
        queue.close();
        assert_eq!(block_on(queue.push(2)), Err(Closed));
        assert_eq!(queue.pop(64), [1]);
        assert_eq!(queue.pop(64), Vec::<i32>::new());
    }
}
