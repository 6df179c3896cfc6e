//! Portcullis, an edge gateway whose unit of routing is a port range of workers.
//!
//! `routes.yaml` → [`config`] → [`plan`] → [`listener`] → connection → [`exchange`] → [`route`] → [`pool`] → worker.
//! ARCHITECTURE.md has the map of the code and what must stay true.

pub mod admin;
pub mod app;
pub mod cli;
pub mod compress;
pub mod config;
pub mod confine;
pub mod dependency;
pub mod discover;
pub mod drain;
pub mod exchange;
pub mod explain;
pub mod files;
pub mod heap;
pub mod host;
pub mod http1;
pub mod io;
pub mod limit;
pub mod listener;
pub mod message;
pub mod observe;
pub mod plan;
pub mod pool;
pub mod rehearsal;
pub mod reload;
pub mod renewal;
pub mod route;
pub mod scrape;
pub mod shard;
pub mod tls;
pub mod upgrade;
pub mod upstream;
