//! What is counted of an exchange while it runs? Kept together, because whoever moves bytes, whoever tells of them at the
//! end and operators who ask meanwhile all look at the same.

use std::cell::Cell;

/// A gRPC status that is no number which gRPC knows.
pub const OTHER_STATUS: u8 = 254;

/// The counts of one exchange.
#[derive(Debug, Default)]
pub struct Tally {
    /// Bytes of the request's body, or from the client.
    pub bytes_in: Cell<u64>,
    /// Bytes of the response's body, or to the client.
    pub bytes_out: Cell<u64>,
    /// What `grpc-status` said, if anything did.
    pub grpc_status: Cell<Option<u8>>,
}
