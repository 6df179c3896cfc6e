//! Which worker?
//!
//! A [`Pool`] is every host and port of its ranges, of which some are live. Data threads pick from
//! it and report what became of it; discovery and checks say who is there. No sockets, no clock:
//! the time is always handed in.

mod admission;
mod balance;
mod change;
mod closed;
mod hash;
mod health;
mod lease;
mod operate;
mod outlier;
mod retry_budget;
mod state;
mod stats;
mod sticky;
#[cfg(test)]
pub(crate) mod testing;
mod worker;

pub use admission::{Reason, Refused};
pub use closed::Order;
pub use lease::{Lease, Pick, Waiting, Want};
pub use retry_budget::RetryBudget;
pub use state::Pool;
pub use stats::Stats;
pub use worker::{Kind, Outcome, Snapshot, State, Transition, Worker, WorkerId};
