//! Where do connections come in? Accept loops and the life of a connection until HTTP takes over.

pub mod accept;
pub mod http1;
pub mod http2;
pub mod inherited;
pub mod preface;
pub mod proxy_protocol;
pub mod refused;
pub mod socket;
