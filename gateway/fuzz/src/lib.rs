//! Which code is fuzzed? The parsers of the gateway, taken as they are, file by file, and those of the services: of agents'
//! messages, of what agents tell of their hardware, and of queries for computers.
//!
//! Does not: stand for the gateway. Whatever needs a socket, a runtime or TLS is not here.

#[path = "../../../backends/src/domain/alert.rs"]
pub mod alert;
#[path = "../../../backends/src/bpickle/mod.rs"]
pub mod bpickle;
#[path = "../../src/config/mod.rs"]
pub mod config;
/// What reads agents' messages once they are values.
#[path = "../../../backends/src/domain"]
pub mod domain {
    pub mod exchange;
    pub mod fields;
    pub mod message;
    pub mod network;
    pub mod package;
    pub mod register;
    pub mod report;
    pub mod types;
}
#[path = "../../../backends/src/domain/hardware.rs"]
pub mod hardware;
#[path = "../../src/io/hello.rs"]
pub mod hello;
#[path = "../../src/http1/mod.rs"]
pub mod http1;
#[path = "../../src/message.rs"]
pub mod message;
#[path = "../../src/listener/proxy_protocol.rs"]
pub mod proxy_protocol;
#[path = "../../../backends/src/domain/query.rs"]
pub mod query;
#[path = "../../src/route/mod.rs"]
pub mod route;
#[path = "../../src/discover/dependencies/wire/mod.rs"]
pub mod wire;
#[path = "../../../backends/src/domain/xml.rs"]
pub mod xml;

pub mod reading;
