//! The services behind the edge: one library, one thin binary per service.
//!
//! | Module | Question |
//! |---|---|
//! | [`settings`] | What was I told? |
//! | [`serve`] | How does a service live? |
//! | [`worker`] | Who am I? |
//! | [`domain`] | What is true without a database? |
//! | [`map`] | Which service lives on which ports? |
//! | [`service`] | One file per service: its routes |
//! | [`stub`] | What does a service answer until it is written? |
//! | [`bpickle`] | How do agents write their messages down? |
//! | [`proto`] | The messages of the gRPC services |
//!
//! Every service is a stub for now: it answers any path by telling what it saw. A service is
//! replaced by changing its file under `service/` and nothing else. Nothing here is shared with
//! the gateway; the two meet over HTTP.

pub mod bpickle;
pub mod domain;
pub mod map;
pub mod proto;
pub mod serve;
pub mod service;
pub mod settings;
pub mod stub;
pub mod worker;
