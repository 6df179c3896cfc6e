//! Which certificate, which trust?
//!
//! [`load`] reads and checks what a listener names, [`store`] picks by the name a client asks for, [`trust`] knows which
//! clients may come, [`server`] ties them into the settings of the TLS library, [`live`] replaces these when the files are, [`tickets`] keeps
//! sessions.

pub mod client;
pub mod digest;
pub mod follow;
pub mod identity;
pub mod lists;
pub mod live;
pub mod load;
pub mod ocsp;
pub mod roots;
pub mod server;
pub mod store;
pub mod tickets;
pub mod time;
pub mod trust;
mod watch;
