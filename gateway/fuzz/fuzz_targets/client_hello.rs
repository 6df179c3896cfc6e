//! What a client sends first over TLS, read for the name it asks for.
//!
//! Promises: nothing panics, any cut gives the same answer, what is found is a name, and what comes behind a hello changes
//! nothing.
#![no_main]

use gateway_fuzz::hello::Hello;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut hello = Hello::default();
        pieces.for_each(|piece| hello.take(piece));
        hello.into_name()
    };
    let whole = read(&mut std::iter::once(data));
    assert_eq!(read(&mut data.chunks(1)), whole);
    assert_eq!(read(&mut data.chunks(7)), whole);
    if let Some(name) = &whole {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-._".contains(&c);
        assert!((1..=255).contains(&name.len()) && name.bytes().all(plain));
        assert_eq!(read(&mut [data, data].into_iter()), whole);
    }
});
