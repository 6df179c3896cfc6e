//! Does every value survive, and does no input do harm?

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;

fn parse(bytes: &[u8]) -> Result<Value, Problem> {
    read(bytes, Limits::default()).map_err(|refusal| refusal.problem)
}

fn text(text: &str) -> Value {
    Value::from(text)
}

#[test]
fn every_kind_has_its_form() {
    for (value, bytes) in [
        (Value::Null, b"n".as_slice()),
        (Value::Bool(true), b"b1"),
        (Value::Bool(false), b"b0"),
        (Value::Int(0), b"i0;"),
        (Value::Int(-7), b"i-7;"),
        (Value::Int(i64::MIN), b"i-9223372036854775808;"),
        (Value::Float(1.5), b"f1.5;"),
        (Value::Float(1e100), b"f1e+100;"),
        (Value::Float(1e-7), b"f1e-07;"),
        (Value::Bytes(b"ab".to_vec()), b"s2:ab"),
        (Value::Bytes(vec![]), b"s0:"),
        (text("\u{e9}"), b"u2:\xc3\xa9"),
        (Value::List(vec![]), b"l;"),
        (Value::List(vec![Value::Int(1), text("a")]), b"li1;u1:a;"),
        (
            Value::Tuple(vec![Value::Int(1), Value::Int(2)]),
            b"ti1;i2;;",
        ),
        (
            Value::dict([("b", Value::Int(1)), ("a", Value::Bytes(b"x".to_vec()))]),
            b"du1:as1:xu1:bi1;;",
        ),
        (
            Value::Dict([(Key::Int(1), Value::Int(2))].into()),
            b"di1;i2;;",
        ),
    ] {
        assert_eq!(write(&value), bytes, "{value:?}");
        assert_eq!(parse(bytes), Ok(value));
    }
}

#[test]
fn the_first_words_of_a_real_agent_are_understood() {
    let digest = [0xd4, 0x1d, 0x8c, 0xd9, 0x8f, 0x00, 0xb2, 0x04];
    let mut said = b"du14:accepted-typess8:".to_vec();
    said.extend(digest);
    said.extend(b"u21:client-accepted-typeslu12:registrationu6:set-id;u10:client-apis3:3.8");
    said.extend(b"u8:messagesl;u22:next-expected-sequencei0;u8:sequencei0;;");
    let value = parse(&said).expect("an agent's words");
    assert_eq!(
        value.at("accepted-types").and_then(Value::as_bytes),
        Some(digest.as_slice())
    );
    assert_eq!(value.at("sequence").and_then(Value::as_int), Some(0));
    assert_eq!(write(&value), said);
}

#[test]
fn keys_of_bytes_are_keys_of_text_and_the_last_of_two_wins() {
    let value = parse(b"ds1:bi1;u1:ai2;u1:bi3;;").expect("a dictionary");
    assert_eq!(
        value,
        Value::dict([("a", Value::Int(2)), ("b", Value::Int(3))])
    );
}

#[test]
fn what_no_writer_writes_is_refused() {
    for (bytes, problem) in [
        (b"".as_slice(), Problem::End),
        (b"nn", Problem::Rest),
        (b"x", Problem::Kind),
        (b"b2", Problem::Number),
        (b"b", Problem::End),
        (b"i1", Problem::End),
        (b"i;", Problem::Number),
        (b"i+1;", Problem::Number),
        (b"i 1;", Problem::Number),
        (b"i1_0;", Problem::Number),
        (b"i01;", Problem::Number),
        (b"i-0;", Problem::Number),
        (b"i9223372036854775808;", Problem::Number),
        (b"i-9223372036854775809;", Problem::Number),
        (b"i111111111111111111111111111111111;", Problem::Number),
        (b"f;", Problem::Number),
        (b"f.5;", Problem::Number),
        (b"f+1.0;", Problem::Number),
        (b"finfinity;", Problem::Number),
        (b"f1e;", Problem::Number),
        (b"s3:ab", Problem::Length),
        (b"s-1:ab", Problem::Length),
        (b"s02:ab", Problem::Length),
        (b"s99999999999999999999:ab", Problem::Length),
        (b"s2", Problem::End),
        (b"u1:\xff", Problem::Text),
        (b"l", Problem::End),
        (b"li1;", Problem::End),
        (b"di1;;", Problem::Kind),
        (b"dnn;", Problem::Key),
        (b"dl;n;", Problem::Key),
        (b"ds1:\xffn;", Problem::Text),
    ] {
        assert_eq!(parse(bytes), Err(problem), "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_refusal_tells_where() {
    let refusal = read(b"li1;x;", Limits::default()).expect_err("no such kind");
    assert_eq!((refusal.at, refusal.problem), (4, Problem::Kind));
}

#[test]
fn nesting_beyond_the_limit_is_refused_however_deep() {
    let nested = |depth: usize| [vec![b'l'; depth], vec![b';'; depth]].concat();
    assert!(parse(&nested(64)).is_ok());
    assert_eq!(parse(&nested(65)), Err(Problem::Depth));
    assert_eq!(parse(&vec![b'l'; 10_000_000]), Err(Problem::Depth));
    assert_eq!(parse(&b"du1:a".repeat(1_000_000)), Err(Problem::Depth));
}

#[test]
fn more_values_than_the_limit_are_refused() {
    let limits = Limits {
        values_max: 10,
        ..Limits::default()
    };
    let list = |count: usize| [b"l".to_vec(), vec![b'n'; count], b";".to_vec()].concat();
    assert!(read(&list(9), limits).is_ok());
    let refusal = read(&list(10), limits).expect_err("one too many");
    assert_eq!(refusal.problem, Problem::Values);
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        // NaN is the one float that is not equal to itself; it has its case in write.rs.
        any::<f64>()
            .prop_filter("comparable", |number| !number.is_nan())
            .prop_map(Value::Float),
        vec(any::<u8>(), 0..24).prop_map(Value::Bytes),
        ".{0,12}".prop_map(Value::Text),
    ];
    let key = prop_oneof![
        any::<i64>().prop_map(Key::Int),
        ".{0,8}".prop_map(Key::Text)
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..8).prop_map(Value::List),
            vec(inner.clone(), 0..8).prop_map(Value::Tuple),
            btree_map(key.clone(), inner, 0..8).prop_map(Value::Dict),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(value in any_value()) {
        prop_assert_eq!(parse(&write(&value)), Ok(value));
    }

    #[test]
    fn a_cut_document_is_refused(value in any_value(), cut in any::<prop::sample::Index>()) {
        let bytes = write(&value);
        let cut = cut.index(bytes.len());
        prop_assert!(parse(&bytes[..cut]).is_err());
    }

    #[test]
    fn a_changed_byte_does_no_harm(value in any_value(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut bytes = write(&value);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        // What is still a document is written and read as the same document.
        if let Ok(value) = parse(&bytes) {
            let again = write(&value);
            prop_assert_eq!(write(&parse(&again).expect("a document")), again);
        }
    }

    #[test]
    fn no_bytes_do_harm(bytes in vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
    }
}
