//! What an agent says in an exchange, read as far as it is before anything is stored.
//!
//! Promises: nothing panics; a message is one of its request's messages whether it can be read or not; every message is
//! read or refused as a message of every type.
#![no_main]

use gateway_fuzz::bpickle::{Limits, Value};
use gateway_fuzz::domain::exchange::{Request, type_said};
use gateway_fuzz::domain::fields::Rows;
use gateway_fuzz::domain::message::{Refusal, read};
use gateway_fuzz::domain::register::Register;
use gateway_fuzz::domain::types::ACCEPTED;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(request) = Request::read(data, Limits::default()) else {
        return;
    };
    assert_eq!(request.left, 0, "so little fits");
    for said in &request.messages {
        let _ = type_said(said);
        let Ok(value) = said else {
            continue;
        };
        let _ = Register::read(value);
        let _ = read(value, &mut Rows::default());
        let Value::Dict(fields) = value else {
            continue;
        };
        for message_type in ACCEPTED {
            let mut fields = fields.clone();
            fields.insert("type".into(), message_type.into());
            assert_ne!(read(&Value::Dict(fields), &mut Rows::default()), Err(Refusal::Type));
        }
    }
});
