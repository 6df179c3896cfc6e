//! Which packages match? A stub for now.

use super::Service;
use crate::stub;

/// Package search: one worker, asked by other services and not by the world.
pub const SERVICE: Service = Service {
    name: "package-search",
    routes: stub::routes,
    open: None,
};
