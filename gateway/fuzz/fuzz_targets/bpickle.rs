//! What an agent sends to the message system.
//!
//! Promises: nothing panics, and what is taken is written and read again as the same document.
#![no_main]

use gateway_fuzz::bpickle::{Limits, read, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(value) = read(data, Limits::default()) {
        let written = write(&value);
        let again = read(&written, Limits::default()).expect("what was written is a document");
        assert_eq!(write(&again), written);
    }
});
