//! Do workers keep their promises? Each test starts a real service on a port of its own and talks
//! to it as a stranger would.

mod grpc;
mod http;
mod process;
mod running;
mod websocket;
