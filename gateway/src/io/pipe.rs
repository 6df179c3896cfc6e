//! How do bytes get from one connection to another without being copied? Pipes of the kernel (splice(2)), some for each data
//! thread.
//!
//! Promises: a pipe that is lent again is empty. Does not: wait; who calls knows when a connection is ready.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

/// Wished size of a pipe, bytes. Its slots count, not its bytes: each takes a piece of a packet, and small ones are many.
pub const SIZE: usize = 256 * 1024;
/// Pipes of a data thread at once: users have a bound (`pipe-user-pages-soft`), above which theirs become tiny.
const OPEN_MAX: usize = 64;
/// Pipes that are kept for the next.
const KEPT_MAX: usize = 8;

/// The pipes of a data thread.
#[derive(Default)]
pub struct Pipes {
    kept: RefCell<Vec<Ends>>,
    open: Cell<usize>,
}

struct Ends {
    read: OwnedFd,
    write: OwnedFd,
}

impl Ends {
    fn open() -> io::Result<Ends> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // The kernel's own size will do where it allows no more.
        let _ = fcntl_setpipe_size(&write, SIZE);
        Ok(Ends { read, write })
    }
}

impl Pipes {
    /// An empty pipe; none when there are too many, or the process has too many files open.
    pub fn take(self: &Rc<Pipes>) -> Option<Pipe> {
        if self.open.get() >= OPEN_MAX {
            return None;
        }
        let kept = self.kept.borrow_mut().pop();
        let ends = match kept {
            Some(ends) => ends,
            None => Ends::open().ok()?,
        };
        self.open.set(self.open.get() + 1);
        Some(Pipe {
            ends: Some(ends),
            held: 0,
            home: self.clone(),
        })
    }
}

/// A pipe, and how much is in it.
pub struct Pipe {
    /// There until it is dropped.
    ends: Option<Ends>,
    held: usize,
    home: Rc<Pipes>,
}

impl Pipe {
    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.held == 0
    }

    /// Moves up to `most` bytes into it. It must be empty: a full one could not be told from a connection without news.
    pub(super) fn fill(&mut self, from: impl AsFd, most: usize) -> io::Result<usize> {
        let Some(ends) = self.ends.as_ref().filter(|_| self.held == 0) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let moved = splice(from, None, &ends.write, None, most, flags())?;
        self.held = moved;
        Ok(moved)
    }

    /// Moves some of what is in it on.
    pub(super) fn drain(&mut self, to: impl AsFd) -> io::Result<usize> {
        let Some(ends) = &self.ends else {
            return Ok(0);
        };
        let moved = splice(&ends.read, None, to, None, self.held, flags())?;
        self.held -= moved;
        Ok(moved)
    }
}

fn flags() -> SpliceFlags {
    SpliceFlags::MOVE | SpliceFlags::NONBLOCK
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.home.open.set(self.home.open.get() - 1);
        let mut kept = self.home.kept.borrow_mut();
        // What somebody's bytes are left in is closed with them.
        if self.held == 0 && kept.len() < KEPT_MAX {
            kept.extend(self.ends.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_are_bounded_and_kept() {
        let pipes = Rc::<Pipes>::default();
        let mut taken: Vec<Pipe> = (0..OPEN_MAX).map(|_| pipes.take().unwrap()).collect();
        assert!(pipes.take().is_none());
        taken.pop();
        assert!(pipes.take().is_some());
        drop(taken);
        assert_eq!(pipes.open.get(), 0);
        assert_eq!(pipes.kept.borrow().len(), KEPT_MAX);
    }

    #[test]
    fn a_pipe_with_bytes_in_it_is_not_lent_again() {
        let pipes = Rc::<Pipes>::default();
        let mut pipe = pipes.take().unwrap();
        let (from, to) = std::os::unix::net::UnixStream::pair().unwrap();
        std::io::Write::write_all(&mut &from, b"secret").unwrap();
        assert_eq!(pipe.fill(&to, SIZE).unwrap(), 6);
        assert!(!pipe.is_empty() && pipe.fill(&to, SIZE).is_err());
        drop(pipe);
        assert!(pipes.kept.borrow().is_empty());
    }
}
