//! What do the gRPC services say? The messages and service traits made from `proto/`, which is
//! where they are documented.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::{BufferSettings, Codec};
use tonic_prost::{ProstCodec, ProstDecoder, ProstEncoder};

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

/// `landscapehostagentapi`: the streams of WSL hosts.
#[allow(missing_docs)]
pub mod hostagent {
    tonic::include_proto!("landscapehostagentapi");
}

/// Bytes that a stream's buffer has before anything came. The usual 8 KiB for each direction are most of what an
/// idle stream costs.
const BUFFER_BYTES: usize = 256;
/// Bytes that are gathered before they are sent on.
const YIELD_BYTES: usize = 32 * 1024;

/// Protocol Buffers as usual, for services with many streams that say little.
#[derive(Clone, Debug)]
pub struct ThriftyCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for ThriftyCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> Codec for ThriftyCodec<T, U>
where
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<T, U>::raw_encoder(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<T, U>::raw_decoder(BufferSettings::new(BUFFER_BYTES, YIELD_BYTES))
    }
}
