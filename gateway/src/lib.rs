//! Portcullis, an edge gateway whose unit of routing is a port range of workers.
//!
//! `routes.yaml` → [`config`] → plan → listeners → connection → exchange → [`route`] → [`pool`] → worker.
//! ARCHITECTURE.md has the map of the code and what must stay true.

pub mod config;
pub mod discover;
pub mod http1;
pub mod io;
pub mod message;
pub mod pool;
pub mod route;
pub mod tls;
