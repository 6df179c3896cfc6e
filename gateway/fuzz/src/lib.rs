//! Which code is fuzzed? The parsers of the gateway, taken as they are, file by file, and the one of agents' messages.
//!
//! Does not: stand for the gateway. Whatever needs a socket, a runtime or TLS is not here.

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
#[path = "../../src/io/hello.rs"]
pub mod hello;
#[path = "../../src/http1/mod.rs"]
pub mod http1;
#[path = "../../src/message.rs"]
pub mod message;
#[path = "../../src/listener/proxy_protocol.rs"]
pub mod proxy_protocol;
#[path = "../../src/route/mod.rs"]
pub mod route;
#[path = "../../src/discover/dependencies/wire/mod.rs"]
pub mod wire;

pub mod reading;
