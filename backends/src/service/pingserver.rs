//! Is there anything for me? Agents ask this all day long; a stub for now.

use super::Service;
use crate::stub;

/// The ping server: many small questions from every agent.
pub const SERVICE: Service = Service {
    name: "pingserver",
    routes: stub::routes,
};
