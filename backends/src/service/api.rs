//! What may scripts ask and change? A stub for now.

use super::Service;
use crate::stub;

/// The API: scripts and the command line.
pub const SERVICE: Service = Service {
    name: "api",
    routes: stub::routes,
    open: None,
};
