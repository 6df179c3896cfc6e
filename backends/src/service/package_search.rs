//! Which packages match? A stub for now.

use super::Service;
use crate::stub;

/// Package search: one worker.
pub const SERVICE: Service = Service {
    name: "package-search",
    routes: stub::routes,
};
