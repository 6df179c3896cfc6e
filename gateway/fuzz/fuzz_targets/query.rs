//! Which computers somebody means, in the words of the API.
//!
//! Promises: nothing panics; a query is a list of lists with something in each, or somebody is told what is wrong.
#![no_main]

use gateway_fuzz::query::Query;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Query::read(text) {
        Ok(query) => assert!(query.all.iter().all(|any| !any.is_empty())),
        Err(wrong) => assert!(!wrong.to_string().is_empty()),
    }
});
