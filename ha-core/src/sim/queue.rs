//! What happens next: events in the order of true time, and of their making where times are equal.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A queue of future events.
#[derive(Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    slots: Vec<Option<E>>,
    free: Vec<u32>,
    made: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), made: 0 }
    }
}

impl<E> Queue<E> {
    /// Lets `event` happen at true time `at`.
    pub fn push(&mut self, at: u64, event: E) {
        self.made += 1;
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(event);
            slot
        } else {
            self.slots.push(Some(event));
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        };
        self.heap.push(Reverse((at, self.made, slot)));
    }

    /// The next event if it happens at or before `limit`.
    pub fn pop_until(&mut self, limit: u64) -> Option<(u64, E)> {
        let Reverse((at, _, slot)) = *self.heap.peek()?;
        if at > limit {
            return None;
        }
        self.heap.pop();
        self.free.push(slot);
        self.slots[slot as usize].take().map(|event| (at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;

    #[test]
    fn events_come_by_time_and_then_by_order_of_making() {
        let mut q = Queue::default();
        for (at, e) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b')] {
            q.push(at, e);
        }
        let mut seen = String::new();
        while let Some((_, e)) = q.pop_until(5) {
            seen.push(e);
        }
        assert_eq!(seen, "abcd");
        q.push(9, 'z');
        assert_eq!(q.pop_until(8), None);
        assert_eq!(q.pop_until(9), Some((9, 'z')));
    }
}
