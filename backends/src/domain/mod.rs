//! What is true without a database? The nouns and rules of the services, as values and pure functions.
//!
//! Nothing here waits, reads a clock or knows SQL or HTTP.

pub mod changes;
pub mod control;
pub mod exchange;
pub mod fields;
pub mod message;
pub mod network;
pub mod package;
pub mod package_search;
pub mod register;
pub mod report;
pub mod repository;
pub mod sequence;
pub mod types;
