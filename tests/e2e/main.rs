//! Does the gateway keep its promises? One file per promise; see the crate `e2e` for the harness.
#![allow(clippy::unwrap_used)]

mod access_log;
mod admin;
mod check;
mod deadlines;
mod drain;
mod error_pages;
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
mod pipelining;
mod pools;
mod protocols;
mod proxy_protocol;
mod rates;
mod redirects;
mod reload;
mod review;
mod rewrite;
mod route_limits;
mod routing;
mod service;
mod smuggling;
mod static_files;
mod tls;
mod websocket;
