//! In which words do the end-to-end tests speak?
//!
//! A test starts fake workers ([`Worker`] with a [`Script`]), the real binary before them
//! ([`Gateway`], or [`Edge`] for the usual configuration) and a client with control over every
//! byte ([`Raw`], [`H2`]), and then says what must have happened. Nothing here knows the gateway's
//! code: the binary is met through its file, its sockets, its log and its exit code.
//!
//! | file | question |
//! |---|---|
//! | `gateway` | How is the binary under test started, met and stopped? |
//! | `edge` | What does the usual configuration look like? |
//! | `worker`, `scripts`, `h2_scripts` | Who stands behind the gateway, and how does it behave? |
//! | `raw`, `h2_client`, `grpc`, `websocket`, `frames` | Who stands before it? |
//! | `load`, `streams` | What goes on while something is tested: clients that ask all the time, long streams of every kind |
//! | `wire`, `message` | How are HTTP/1 bytes read, without any leniency of a library? |
//! | `tls_front` | Who gives a worker TLS? |
//! | `stack`, `broker`, `postgres`, `relay`, `agent`, `hostagent`, `bpickle` | The services with a real database and broker, and who reports to them |
//! | `house`, `person`, `vault` | All services behind the edge, who asks them, and who keeps their secrets |
//! | `chromium` | Who looks at the pages in a real browser |
//! | `package` | Who uploads packages, and what |
//! | `certs`, `ports`, `dir`, `files`, `eventually` | Certificates, free ports, a directory, open files, patience |

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod agent;
pub mod bpickle;
pub mod broker;
pub mod certs;
pub mod chromium;
pub mod dir;
pub mod edge;
pub mod eventually;
pub mod files;
pub mod frames;
pub mod gateway;
pub mod grpc;
pub mod h2_client;
pub mod h2_scripts;
pub mod hostagent;
pub mod house;
pub mod load;
pub mod message;
pub mod package;
pub mod person;
pub mod ports;
pub mod postgres;
pub mod raw;
pub mod relay;
pub mod scripts;
pub mod stack;
pub mod streams;
pub mod tls_front;
pub mod vault;
pub mod websocket;
pub mod wire;
pub mod worker;

pub use agent::{Agent, Way};
pub use broker::{Broker, Node};
pub use certs::{Authority, Certs, Issued, Leaf};
pub use chromium::Chromium;
pub use dir::TempDir;
pub use edge::Edge;
pub use eventually::{eventually, for_a_while, patience, within};
pub use gateway::{Gateway, Told};
pub use h2_client::{Call, H2, H2Reply};
pub use hostagent::HostAgent;
pub use house::House;
pub use load::Load;
pub use message::Message;
pub use person::{AccessKey, Browser, Rest, SignedIn};
pub use ports::free_range;
pub use postgres::Postgres;
pub use raw::{Raw, Tls};
pub use relay::Relay;
pub use stack::{Database, Service};
pub use vault::Vault;
pub use wire::Wire;
pub use worker::{Conn, Gate, Script, Worker};
