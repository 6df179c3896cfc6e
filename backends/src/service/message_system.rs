//! What have agents to say, and what must they do? A stub for now.

use super::Service;
use crate::stub;

/// The message server: exchanges with agents, the largest range of workers.
pub const SERVICE: Service = Service {
    name: "message-system",
    routes: stub::routes,
};
