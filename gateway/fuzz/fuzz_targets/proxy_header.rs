//! What comes in front of a connection from a trusted balancer.
//!
//! Promises: nothing panics, any cut gives the same answer, and a whole header stays one whatever stands behind it.
#![no_main]

use gateway_fuzz::proxy_protocol::{V2_BYTES_MAX, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let whole = parse(data);
    let first = (0..=data.len())
        .map(|cut| parse(&data[..cut]))
        .find(|answer| *answer != Ok(None));
    assert_eq!(first.unwrap_or(Ok(None)), whole);
    match whole {
        Ok(Some((_, length))) => {
            assert!(length <= data.len() && length <= V2_BYTES_MAX);
            assert_eq!(parse(&data[..length]), whole);
            assert_eq!(parse(&data[..length - 1]), Ok(None));
        }
        Ok(None) => assert!(data.len() < V2_BYTES_MAX),
        Err(_) => {}
    }
});
