//! What does each service answer? One file per service: its name and its routes.

use axum::Router;

use crate::serve::Open;
use crate::worker::Worker;

pub mod access_key;
pub mod admission;
pub mod api;
pub mod appserver;
pub mod hostagent_messenger;
pub mod message_system;
pub mod outbox_relay;
pub mod package_search;
pub mod package_upload;
pub mod packages;
pub mod pingserver;
pub mod session_cookie;
pub mod sign_in;

/// A service: what it is called and how a worker of it answers.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Its name, which is the name of its pool at the edge.
    pub name: &'static str,
    /// The routes of a worker that is a stub.
    pub routes: fn(&Worker) -> Router,
    /// How a worker begins that is none; None where the service is not written yet.
    pub open: Option<Open>,
}
