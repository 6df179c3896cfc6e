//! Load, origins to answer it, and an account of what a proxy between them used.
//!
//! `loadtest run` sends the load of a [`scenario`] and tells latency, throughput and the CPU time and memory
//! of the processes in between. `loadtest bench` does so for Portcullis and other proxies in turn, with
//! [`peer`] configurations that do the same work. `loadtest fleet` is a [`fleet`] of agents and hosts. It shares no code with the gateway.

pub mod account;
pub mod bench;
pub mod fleet;
pub mod frame;
pub mod head;
pub mod load;
pub mod origin;
pub mod peer;
pub mod scenario;
pub mod tls;
