//! The second phase: requests are taken in, handed to a few workers, and answered as they get done (proto.md, "Transmission").
//!
//! Always true here:
//! - The one thread that receives takes the memory that a request and its answer need out of a fixed [`Budget`] before it allocates any,
//!   and waits while there is none. Requests wait in the order in which they came, so none waits for ever.
//! - A request that is refused costs no memory: its payload, if it has one, is received and forgotten.
//! - When the client is done or gone, what it asked for before is finished first; when it is lost, it is not.

use super::answer::{Connection, Job, check, cost};
use super::export::Export;
use super::lock;
use super::negotiate::Agreed;
use super::protocol::{MOST_PAYLOAD, Request, cmd};
use super::service::{End, Service};
use super::wire::Incoming;
use crossbeam_channel::bounded;
use std::io;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::{Builder, ScopedJoinHandle, scope};

/// Memory that is left.
struct Budget {
    left: Mutex<usize>,
    more: Condvar,
}

/// Memory that is taken, until this is dropped.
struct Taken<'a> {
    budget: &'a Budget,
    bytes: usize,
}

impl Budget {
    const fn new(bytes: usize) -> Self {
        Self { left: Mutex::new(bytes), more: Condvar::new() }
    }

    /// Waits until there are `bytes`, which are no more than the whole.
    fn take(&self, bytes: usize) -> Taken<'_> {
        let mut left = lock(&self.left);
        while *left < bytes {
            left = self.more.wait(left).unwrap_or_else(PoisonError::into_inner);
        }
        *left -= bytes;
        Taken { budget: self, bytes }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *lock(&self.budget.left) += self.bytes;
        self.budget.more.notify_one();
    }
}

/// Receives the next request and what belongs to it.
fn receive<'a>(
    incoming: &mut Incoming,
    export: &Export,
    structured: bool,
    budget: &'a Budget,
) -> Result<(Job, Taken<'a>), End> {
    let head: [u8; Request::LENGTH] = incoming.array()?;
    let request = Request::parse(&head).ok_or(End::Broken("what it sent is no request"))?;
    if request.command == cmd::DISC {
        return Err(End::Done);
    }
    let has_payload = request.command == cmd::WRITE;
    // To skip 4 GiB would be to work for a client that does not keep to the size that it was told (proto.md, "Size constraints").
    if has_payload && request.length > MOST_PAYLOAD {
        return Err(End::Broken("it sent more in one request than was agreed on"));
    }
    let refused = check(&request, export, structured);
    let taken = budget.take(if refused.is_none() { cost(&request, structured) } else { 0 });
    let mut payload = Vec::new();
    if has_payload && refused.is_some() {
        incoming.skip(u64::from(request.length))?;
    } else if has_payload {
        payload = vec![0; usize::try_from(request.length).unwrap_or(0)];
        incoming.fill_rest(&mut payload)?;
    }
    Ok((Job { request, payload, refused }, taken))
}

/// Answers requests until the connection ends.
pub(super) fn transmit(service: &Service, export: &Export, agreed: Agreed) -> End {
    let Agreed { structured, status, wire, mut incoming, .. } = agreed;
    let connection = Connection::new(service, export, structured, status, wire);
    let budget = Budget::new(Service::MEMORY);
    let workers = service.options().requests;
    if workers == 1 {
        return loop {
            match receive(&mut incoming, export, structured, &budget) {
                Ok((job, _taken)) => connection.answer(job),
                Err(end) => break end,
            }
        };
    }
    scope(|scope| {
        let (sender, receiver) = bounded::<(Job, Taken<'_>)>(workers);
        let start = |_| {
            let (receiver, connection) = (receiver.clone(), &connection);
            let work = move || {
                for (job, _taken) in receiver {
                    connection.answer(job);
                }
            };
            Builder::new().name("nbd-request".into()).spawn_scoped(scope, work).ok()
        };
        let threads: Vec<_> = (0..workers).filter_map(start).collect();
        drop(receiver);
        let end = loop {
            match receive(&mut incoming, export, structured, &budget) {
                // The system gives no threads: then one has to do.
                Ok((job, _taken)) if threads.is_empty() => connection.answer(job),
                Ok(job) => {
                    if sender.send(job).is_err() {
                        break End::Gone;
                    }
                }
                Err(end) => {
                    if matches!(end, End::Lost(_)) {
                        connection.give_up();
                    }
                    break end;
                }
            }
        };
        drop(sender);
        // Waited for one by one: the scope alone would go on when their work is done, and before they have ended.
        let joined: Vec<_> = threads.into_iter().map(ScopedJoinHandle::join).collect();
        if joined.iter().all(Result::is_ok) {
            end
        } else {
            End::Lost(io::Error::other("a request could not be worked on, which is an error of ours"))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back() {
        let budget = Budget::new(10);
        let one = budget.take(6);
        scope(|scope| {
            let waits = scope.spawn(|| drop(budget.take(7)));
            drop(one);
            waits.join().expect("it got its share");
        });
        assert_eq!(*lock(&budget.left), 10);
    }
}
