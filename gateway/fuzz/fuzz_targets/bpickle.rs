//! What an agent sends to the message system.
//!
//! Promises: nothing panics, what is taken is written and read again as the same document, and entries that are read one by
//! one are what they are in the whole.
#![no_main]

use gateway_fuzz::bpickle::{Limits, Value, read, read_apart, text_at, write};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(value) = read(data, Limits::default()) {
        let written = write(&value);
        let again = read(&written, Limits::default()).expect("what was written is a document");
        assert_eq!(write(&again), written);
    }
    let _ = text_at(data, "type");
    let (whole, apart) = (
        read(data, Limits::default()),
        read_apart(data, "messages", Limits::default()),
    );
    if let (Ok(whole), Ok(apart)) = (whole, apart) {
        let written = |entry: &Value| write(entry);
        let entries = apart.entries.map(|entries| {
            let read = entries.into_iter().collect::<Result<Vec<_>, _>>();
            read.expect("no entry of a document is spoilt")
        });
        let entries = entries.map(|entries| entries.iter().map(written).collect::<Vec<_>>());
        let same = whole.at("messages").and_then(Value::as_list);
        let same = same.map(|entries| entries.iter().map(written).collect::<Vec<_>>());
        assert_eq!(entries, same);
    }
});
