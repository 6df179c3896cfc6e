//! What a database, a broker or a Vault answers to a check: the first byte says which, the rest is its answer.
//!
//! Promises: nothing panics, and what was decided of the beginning stays, whatever comes behind it.
#![no_main]

use gateway_fuzz::wire::{Answer, amqp, postgres, vault};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((which, told)) = data.split_first() else {
        return;
    };
    let answer: fn(&[u8]) -> Answer = match which % 3 {
        0 => postgres::answer,
        1 => amqp::answer,
        _ => {
            let path = vault::PATHS[usize::from(which / 3) % vault::PATHS.len()];
            let status = if which & 1 == 0 { 200 } else { 503 };
            let _ = vault::answer(path, status, told);
            return;
        }
    };
    let first = (0..=told.len())
        .map(|cut| answer(&told[..cut]))
        .find(|answer| *answer != Answer::More);
    assert_eq!(first.unwrap_or(Answer::More), answer(told));
});
