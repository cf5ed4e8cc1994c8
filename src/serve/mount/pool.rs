//! Threads that answer requests.
//!
//! Always true here:
//! - A pool has a fixed number of threads, and a bounded number of jobs wait for them; who has one more waits until there is room.
//! - A job that panics ends itself alone. A job that is dropped has its request answered with an I/O error.

use crossbeam_channel::{Sender, bounded};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

/// Jobs that wait at most.
const WAITING: usize = 256;

/// A job: what it works on, and a buffer of the thread that it may use.
type Job<S> = Box<dyn FnOnce(&S, &mut Vec<u8>) + Send>;

/// A pool of threads that work on the same thing. They end when the pool is dropped and its jobs are done.
pub(super) struct Pool<S> {
    jobs: Sender<Job<S>>,
}

impl<S: Send + Sync + 'static> Pool<S> {
    /// Starts the threads.
    ///
    /// # Errors
    /// What the system says where it gives no thread.
    pub(super) fn start(name: &str, count: usize, on: &Arc<S>) -> io::Result<(Self, Vec<JoinHandle<()>>)> {
        let (jobs, next) = bounded::<Job<S>>(WAITING);
        let start = |_| {
            let (next, on) = (next.clone(), Arc::clone(on));
            Builder::new().name(name.to_owned()).spawn(move || {
                let mut buffer = Vec::new();
                for job in next {
                    // Locks that were held are taken over where they are asked for next, and replies answer when they are dropped.
                    let _ = catch_unwind(AssertUnwindSafe(|| job(&on, &mut buffer)));
                }
            })
        };
        let threads = (0..count).map(start).collect::<io::Result<_>>()?;
        Ok((Self { jobs }, threads))
    }

    /// Has a job done. Waits where too many are waiting.
    pub(super) fn run(&self, job: impl FnOnce(&S, &mut Vec<u8>) + Send + 'static) {
        // Without threads the job is dropped, which answers its request.
        let _ = self.jobs.send(Box::new(job));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::channel;

    #[test]
    fn jobs_are_done_beside_each_other_and_a_panic_ends_one_of_them() {
        let on = Arc::new(Mutex::new(0));
        let (pool, threads) = Pool::start("test", 2, &on).unwrap();
        let (go, wait) = channel::<()>();
        pool.run(move |_, _| wait.recv().unwrap());
        let (done, is_done) = channel();
        for number in 0..10 {
            let done = done.clone();
            pool.run(move |on: &Mutex<u32>, buffer| {
                if number % 2 == 0 {
                    done.send(()).unwrap();
                    std::panic::resume_unwind(Box::new("a job that fails"));
                }
                buffer.push(0);
                *on.lock().unwrap() += 1;
                done.send(()).unwrap();
            });
        }
        // The first job still waits, and the others are done.
        (0..10).for_each(|_| is_done.recv().unwrap());
        assert_eq!(*on.lock().unwrap(), 5);
        go.send(()).unwrap();
        drop(pool);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
