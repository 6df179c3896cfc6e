//! Does the gateway keep its promises? One file per promise; see the crate `e2e` for the harness.
#![allow(clippy::unwrap_used)]

mod access_log;
mod admin;
mod admin_api;
mod backends;
mod backends_edge;
mod backends_pages;
mod certificates_on_disk;
mod certs_verb;
mod check;
mod cli;
mod client_certificates;
mod deadlines;
mod drain;
mod fixed;
mod foreign;
mod forwarded;
mod grpc;
mod headers;
mod http10;
mod independence;
mod limits;
mod metrics;
mod metrics_denied;
mod networks;
mod ocsp;
mod pipelining;
mod pools;
mod process;
mod protocols;
mod proxy_protocol;
mod rates;
mod redirects;
mod refusals;
mod reload;
mod review;
mod rewrite;
mod route_limits;
mod routing;
mod service;
mod smuggling;
mod tls;
mod tls_to_workers;
mod upgrade;
mod websocket;
mod worker_admin;

// How pools are used.
mod backup;
mod buffering;
mod h2_limits;
mod left_clients;
mod maintenance;
mod mirror;
mod sticky;
