//! Are the files of TLS towards a pool's workers still what is used? Those of authorities, and the gateway's own
//! certificate and key.
//!
//! Promises: what is sound is handed out once the files rest; what is not is refused and the old stays. Does not: look by
//! itself, or change the pool. The system's authorities are read at start and by a reload.

use std::path::PathBuf;
use std::sync::Arc;

use super::client::to_workers;
use super::time::Clocks;
use super::watch::{Seen, Watch};
use crate::config::model::{WorkerProtocol, WorkerTls};
use crate::config::problem::Problem;
use crate::io::secure::Secure;

/// The files of a pool.
pub struct Follow {
    model: WorkerTls,
    watch: Watch,
    /// They have not been read yet: they may have changed since the plan was made.
    fresh: bool,
}

/// What a look has found.
#[derive(Debug)]
pub enum Found {
    /// Nothing new.
    Same,
    /// Something changes just now: look again soon.
    Moving,
    /// To be used from now on; with what is doubtful about it.
    PickedUp(Arc<Secure>, Vec<Problem>),
    /// What lies there cannot be used, for these reasons; told once.
    Refused(Vec<Problem>),
}

impl Follow {
    /// The files that a pool names.
    pub fn new(model: &WorkerTls, now: Clocks) -> Follow {
        Follow {
            watch: Watch::new(files(model), now),
            model: model.clone(),
            fresh: true,
        }
    }

    /// Whether it follows what this pool names.
    pub fn is_of(&self, model: &WorkerTls) -> bool {
        self.model == *model
    }

    /// Looks, and reads what is new. `used` is what the pool uses.
    pub fn look(
        &mut self,
        protocol: WorkerProtocol,
        used: Option<&Arc<Secure>>,
        now: Clocks,
    ) -> Found {
        if !self.model.watch || files(&self.model).is_empty() {
            return Found::Same;
        }
        match self.watch.look(self.fresh, now) {
            Seen::Same => return Found::Same,
            Seen::Moving => return Found::Moving,
            Seen::Changed => self.fresh = false,
        }
        match to_workers(&self.model, protocol, now.wall, used) {
            Ok((secure, doubts)) => {
                self.watch.accept();
                // What is the same as before is that.
                if used.is_some_and(|used| Arc::ptr_eq(used, &secure)) {
                    Found::Same
                } else {
                    Found::PickedUp(secure, doubts)
                }
            }
            Err(problems) if self.watch.refuse(&problems, now) => Found::Refused(problems),
            Err(_) => Found::Same,
        }
    }
}

fn files(model: &WorkerTls) -> Vec<PathBuf> {
    let own = model.client_certificate.iter();
    let own = own.flat_map(|(chain, key)| [chain, key]);
    model.ca.iter().chain(own).cloned().collect()
}
