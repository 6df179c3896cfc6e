//! What does each service answer? One file per service: its name and its routes.

pub mod access_key;
pub mod admission;
pub mod api;
pub mod appserver;
pub mod hostagent_messenger;
mod intake;
pub mod message_system;
pub mod outbox_relay;
pub mod package_search;
pub mod package_upload;
pub mod packages;
pub mod pingserver;
pub mod session_cookie;
pub mod sign_in;
pub mod sweep;

pub use crate::serve::Service;
