//! What an agent tells of its hardware: the XML of lshw, shown by kind of device.
//!
//! Promises: nothing panics, and what is shown of it is bounded by what was told.
#![no_main]

use gateway_fuzz::hardware::Hardware;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(told) = Hardware::read(text) {
        let shown = serde_json::to_string(&told).expect("texts and lists are JSON");
        // What is missing has a text of its own, and caches are told of every processor.
        assert!(
            shown.len() < 2000 + 100 * data.len(),
            "{} of {}",
            shown.len(),
            data.len()
        );
    }
});
