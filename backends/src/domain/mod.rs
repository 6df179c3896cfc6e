//! What is true without a database? The nouns and rules of the services, as values and pure functions.
//!
//! Nothing here waits, reads a clock or knows SQL or HTTP.

pub mod activity;
pub mod alert;
pub mod changes;
pub mod control;
pub mod event;
pub mod exchange;
pub mod fields;
pub mod hardware;
pub mod message;
pub mod network;
pub mod order;
pub mod package;
pub mod package_order;
pub mod package_search;
pub mod password;
pub mod person;
pub mod query;
pub mod register;
pub mod report;
pub mod repository;
pub mod sequence;
pub mod signature;
pub mod token;
pub mod types;
pub mod version;
pub mod wsl;
pub mod xml;

#[cfg(test)]
mod hostile;
