//! The services behind the edge: one library, one thin binary per service.
//!
//! | Module | Question |
//! |---|---|
//! | [`settings`] | What was I told? |
//! | [`serve`] | How does a service live? |
//! | [`front`] | What happens to every request? |
//! | [`worker`] | Who am I? |
//! | [`service`] | One file per service: its routes |
//! | [`domain`] | What is true without a database? |
//! | [`bpickle`] | How do agents write their messages down? |
//! | [`archive`] | Where do packages lie? The only code that writes files |
//! | [`store`] | What is remembered? The only SQL |
//! | [`broker`] | How do services tell each other? The only AMQP |
//! | [`secret`] | What must nobody read? The only Vault |
//! | [`operator`] | What can an operator do to the database? |
//! | [`error`] | What can fail, and what is said about it? |
//! | [`metrics`] | What is counted, under which name? |
//! | [`map`] | Which service lives on which ports? |
//! | [`stub`] | What does a service answer until it is written? |
//! | [`proto`] | The messages of the gRPC services |
//!
//! Requests go `service` -> {`secret`, `broker`} -> `store` -> `domain`, never back. A service that is not written yet, and
//! any with `--stub`, answers every path by telling what it saw. Nothing here is shared with the
//! gateway; the two meet over HTTP.

pub mod archive;
pub mod bpickle;
pub mod broker;
pub mod domain;
pub mod error;
pub mod front;
pub mod map;
pub mod metrics;
pub mod operator;
pub mod proto;
pub mod secret;
pub mod serve;
pub mod service;
pub mod settings;
pub mod store;
pub mod stub;
pub mod worker;
