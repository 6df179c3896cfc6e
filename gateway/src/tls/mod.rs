//! Which certificate, which trust?
//!
//! [`load`] reads and checks what a listener names, [`store`] picks by the name a client asks for,
//! [`server`] ties both into the settings of the TLS library.

pub mod load;
pub mod server;
pub mod store;
