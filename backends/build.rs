//! What do the services say to each other? Compiles `proto/` in pure Rust, so that no `protoc` is
//! needed on the machine.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["echo.proto", "health.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".portcullis.demo")
        .compile_fds(files)?;
    // Many idle streams: their buffers begin small. A client would have two functions `connect`.
    let files = protox::compile(["hostagent.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_client(false)
        .codec_path("crate::proto::ThriftyCodec")
        .compile_fds(files)?;
    Ok(())
}
