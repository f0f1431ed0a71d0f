//! Tasks over threads.

use rayon::prelude::*;
use std::sync::Mutex;

/// `f` of every item, each a task of its own, with buffers that hold what the thread's task
/// before left there.
///
/// Rayon alone splits items among two threads into quarters, which cannot be taken from a thread
/// that has begun one; here the most that a thread waits at the end is one item of another's.
pub(crate) fn spread<S, I, R>(items: I, f: impl Fn(&mut S, I::Item) -> R + Sync) -> Vec<R>
where
    S: Default + Send,
    I: IndexedParallelIterator,
    R: Send,
{
    let threads = rayon::current_num_threads();
    let rooms: Vec<Mutex<S>> = (0..threads).map(|_| Mutex::default()).collect();
    let run = |item| {
        let room = rayon::current_thread_index().and_then(|thread| rooms.get(thread));
        // Taken where a task waits for tasks of its own and its thread runs another meanwhile.
        match room.and_then(|room| room.try_lock().ok()) {
            Some(mut room) => f(&mut room, item),
            None => f(&mut S::default(), item),
        }
    };
    items.with_max_len(1).map(run).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    use std::time::Duration;

    /// A thread that waits for tasks of its task runs another meanwhile, and finds its room taken.
    #[test]
    fn results_are_in_order_and_rooms_are_not_shared() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
        let taken = AtomicUsize::new(0);
        let running: [AtomicUsize; 4] = Default::default();
        let sum = |room: &mut Vec<usize>, i: usize| {
            let here = &running[rayon::current_thread_index().unwrap()];
            taken.fetch_add(here.fetch_add(1, Relaxed).min(1), Relaxed);
            room.clear();
            room.push(i);
            let inner = spread((0..4).into_par_iter(), |room: &mut Vec<usize>, j: usize| {
                // Long enough for idle threads to take tasks of this one.
                std::thread::sleep(Duration::from_micros(20));
                room.clear();
                room.extend(0..j);
                room.len()
            });
            assert_eq!(*room, [i]);
            here.fetch_sub(1, Relaxed);
            i * inner.iter().sum::<usize>()
        };
        // Which thread takes what is chance: rounds until it happened.
        for _ in 0..1000 {
            let sums = pool.install(|| spread((0..12).into_par_iter(), sum));
            assert_eq!(sums, (0..12).map(|i| i * 6).collect::<Vec<_>>());
            if taken.load(Relaxed) > 0 {
                return;
            }
        }
        panic!("no thread began a task inside a task");
    }
}
