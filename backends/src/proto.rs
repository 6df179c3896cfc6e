//! What do the gRPC services say? The messages and service traits made from `proto/`, which is
//! where they are documented.

/// `portcullis.demo`: the Echo service.
#[allow(missing_docs)]
pub mod demo {
    tonic::include_proto!("portcullis.demo");
}

/// `grpc.health.v1`: the health checking protocol.
#[allow(missing_docs)]
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}
