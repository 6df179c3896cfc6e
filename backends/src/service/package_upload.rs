//! Where do uploaded packages go? A stub for now: it reads a body of any size and counts it.

use super::Service;
use crate::stub;

/// Package upload: one worker, large bodies.
pub const SERVICE: Service = Service {
    name: "package-upload",
    routes: stub::routes,
    open: None,
};
