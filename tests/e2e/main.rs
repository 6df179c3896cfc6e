//! Does the gateway keep its promises? One file per promise; see the crate `e2e` for the harness.
#![allow(clippy::unwrap_used)]
