//! Does every value survive, and does no input do harm?

use proptest::collection::vec;
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
        (b"f1.;", Problem::Number),
        (b"f01.5;", Problem::Number),
        (b"f1.50;", Problem::Number),
        (b"f1e400;", Problem::Number),
        (b"f1e5;", Problem::Number),
        (b"f1e-5;", Problem::Number),
        (b"f1e16;", Problem::Number),
        (b"f1.0e+16;", Problem::Number),
        (b"f1E+16;", Problem::Number),
        (b"f10000000000000000.0;", Problem::Number),
        (b"f0.00001;", Problem::Number),
        (b"f0.30000000000000000001;", Problem::Number),
        (b"f-nan;", Problem::Number),
        (b"fNaN;", Problem::Number),
        (b"f+inf;", Problem::Number),
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
fn floats_are_taken_in_every_form_that_writers_give_them() {
    for (bytes, number) in [
        (b"f1.5;".as_slice(), 1.5),
        (b"f-0.0;", -0.0),
        (b"f0.0001;", 0.0001),
        (b"f1e-05;", 0.00001),
        (b"f1.25e-05;", 0.000_012_5),
        (b"f1e+16;", 1e16),
        (b"f1.7976931348623157e+308;", f64::MAX),
        (b"f-2.2250738585072014e-308;", -f64::MIN_POSITIVE),
        (b"f5e-324;", 5e-324),
        (b"finf;", f64::INFINITY),
        (b"f-inf;", f64::NEG_INFINITY),
        (b"f1;", 1.0),
        // Half way between two: the even digit is written, the other one is as short.
        (b"f70368744177664.12;", 2.0_f64.powi(46) + 0.125),
        (b"f70368744177664.13;", 2.0_f64.powi(46) + 0.125),
    ] {
        let text = bytes.escape_ascii();
        assert_eq!(parse(bytes), Ok(Value::Float(number)), "{text}");
    }
    let nan = parse(b"fnan;").expect("a float");
    assert!(nan.as_float().is_some_and(f64::is_nan));
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

/// What a value takes beside its place, from an allocator that gives pieces of 16 bytes, two at least, and keeps 8 bytes of
/// each for itself, as that of the C library does.
fn heap(value: &Value) -> usize {
    let piece = |bytes: usize| match bytes {
        0 => 0,
        bytes => (bytes + 8).next_multiple_of(16).max(32),
    };
    match value {
        Value::Bytes(bytes) => piece(bytes.capacity()),
        Value::Text(text) => piece(text.capacity()),
        Value::List(values) | Value::Tuple(values) => {
            let own = piece(values.capacity() * size_of::<Value>());
            own + values.iter().map(heap).sum::<usize>()
        }
        Value::Dict(entries) => {
            let key = |key: &Key| match key {
                Key::Int(_) => 0,
                Key::Text(text) => piece(text.capacity()),
            };
            let own = piece(entries.capacity() * size_of::<(Key, Value)>());
            let inner = entries.iter().map(|(own, value)| key(own) + heap(value));
            own + inner.sum::<usize>()
        }
        _ => 0,
    }
}

#[test]
fn what_is_small_in_writing_and_large_in_memory_takes_no_more_than_its_weight() {
    let many = |one: &[u8], count: usize| [b"l", one.repeat(count).as_slice(), b";"].concat();
    for one in [
        b"n".as_slice(),
        b"d;",
        b"l;",
        b"ln;",
        b"tn;",
        b"lllllllln;;;;;;;;",
        b"s1:a",
        b"u9:123456789",
        b"di0;n;",
        b"di0;ni1;ni2;ni3;ni4;n;",
        b"du1:an;",
        b"du1:as1:b;",
        b"du1:adu1:adu1:an;;;",
    ] {
        let body = many(one, 10_000);
        let value = parse(&body).expect("a document");
        let (takes, weight) = (
            size_of::<Value>() + heap(&value),
            weight(&body, Limits::default()),
        );
        let text = one.escape_ascii();
        assert!(takes <= weight, "{text}: {takes} bytes of {weight}");
    }
}

#[test]
fn a_weight_is_told_of_what_is_no_document_and_has_an_end() {
    let limits = Limits::default();
    assert_eq!(weight(b"ln", limits), 2 + 2 * VALUE_BYTES);
    assert_eq!(weight(b"lnxn;", limits), 5 + 3 * VALUE_BYTES);
    let endless = [b"l".to_vec(), vec![b'n'; 2_000_000], b";".to_vec()].concat();
    let most = weight_max(endless.len(), limits);
    assert_eq!(weight(&endless, limits), most);
    assert_eq!(most, endless.len() + 1_000_000 * VALUE_BYTES);
}

#[test]
fn entries_beyond_the_most_are_left() {
    let limits = Limits {
        entries_max: 2,
        ..Limits::default()
    };
    let envelope = apart(&around(&[b"n".as_slice(); 5]), limits).expect("an envelope");
    let entries = envelope.entries.expect("the list");
    assert_eq!((entries.len(), envelope.left), (2, 3));
}

#[test]
fn of_a_list_that_comes_twice_the_last_one_is_taken() {
    let body = b"du8:messageslnnn;u8:messagesli7;;;";
    let envelope = apart(body, Limits::default()).expect("an envelope");
    let entries: Result<Vec<_>, _> = envelope.entries.expect("a list").into_iter().collect();
    assert_eq!(entries.expect("no entry is spoilt"), [Value::Int(7)]);
    assert_eq!(envelope.left, 0);
}

#[test]
fn keys_count_as_values() {
    let limits = Limits {
        values_max: 5,
        ..Limits::default()
    };
    assert!(read(b"di1;ni2;n;", limits).is_ok());
    let refusal = read(b"di1;ni2;ni3;n;", limits).expect_err("two too many");
    assert_eq!(refusal.problem, Problem::Values);
}

#[test]
fn a_dictionary_keeps_its_keys_apart_and_in_order() {
    let mut dict = Dict::new();
    for (key, value) in [("b", 1), ("a", 2), ("c", 3), ("b", 4)] {
        dict.insert(key.into(), value.into());
    }
    dict.insert(Key::Int(9), Value::Null);
    let keys: Vec<_> = dict.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(keys, [Key::Int(9), "a".into(), "b".into(), "c".into()]);
    assert_eq!(dict.get("b"), Some(&Value::Int(4)));
    assert_eq!(dict.get("d"), None);
    let pairs = [("b", 1), ("a", 2), ("b", 3), ("a", 4), ("b", 5)];
    let pairs = pairs.map(|(key, value)| (Key::from(key), Value::from(value)));
    let dict = Dict::from(pairs);
    let found = ["a", "b"].map(|key| dict.get(key).and_then(Value::as_int));
    assert_eq!((found, dict.iter().count()), ([Some(4), Some(5)], 2));
}

fn apart(bytes: &[u8], limits: Limits) -> Result<Envelope, Problem> {
    read_apart(bytes, "messages", limits).map_err(|refusal| refusal.problem)
}

/// A document whose list has these entries, in bytes.
fn around(entries: &[&[u8]]) -> Vec<u8> {
    let list = [b"l", entries.concat().as_slice(), b";"].concat();
    [b"du8:messages", list.as_slice(), b"u8:sequencei7;;"].concat()
}

#[test]
fn an_entry_that_is_refused_spoils_no_other() {
    let deep = [vec![b'l'; 100_000], vec![b';'; 100_000]].concat();
    for (spoilt, problem) in [
        (b"i99999999999999999999;".as_slice(), Problem::Number),
        (b"du1:ai99999999999999999999999999;;", Problem::Number),
        (b"du4:textu2:\xc3\x28;", Problem::Text),
        (b"f1e400;", Problem::Number),
        (b"b7", Problem::Number),
        (b"dnn;", Problem::Key),
        (b"dl;u1:a;", Problem::Key),
        (b"di1;;", Problem::Kind),
        (b"ds1:\xffn;", Problem::Text),
        (&deep, Problem::Depth),
    ] {
        let body = around(&[b"i1;", spoilt, b"u1:a"]);
        let envelope = apart(&body, Limits::default()).expect("its end can be told");
        let entries = envelope.entries.expect("the list");
        assert_eq!((entries.len(), envelope.left), (3, 0));
        assert_eq!(
            (&entries[0], &entries[2]),
            (&Ok(Value::Int(1)), &Ok(text("a")))
        );
        let refused = entries[1].as_ref().expect_err("it is spoilt");
        assert_eq!(
            refused.refusal.problem,
            problem,
            "{}",
            spoilt.escape_ascii()
        );
        assert_eq!(&body[refused.place.clone()], spoilt);
        assert!(
            refused.place.contains(&refused.refusal.at) || refused.refusal.at == refused.place.end
        );
        assert_eq!(
            envelope.fields,
            Dict::from([("sequence".into(), Value::Int(7))])
        );
    }
}

#[test]
fn what_hides_where_an_entry_ends_is_refused_and_so_is_what_stands_around() {
    for (body, problem) in [
        (around(&[b"x"]), Problem::Kind),
        (around(&[b"u9:a"]), Problem::Kind),
        (around(&[b"u99:a"]), Problem::Length),
        (around(&[b"s-1:"]), Problem::Length),
        (around(&[b"l"]), Problem::End),
        (around(&[b"i1"]), Problem::End),
        (b"l;".to_vec(), Problem::Dict),
        (b"du8:messagesi1;;".to_vec(), Problem::List),
        (
            b"du8:messagesl;u1:ai99999999999999999999;;".to_vec(),
            Problem::Number,
        ),
        (b"du8:messagesl;nn;".to_vec(), Problem::Key),
        (b"du8:messagesl;;n".to_vec(), Problem::Rest),
        (b"du8:messagesl;".to_vec(), Problem::End),
    ] {
        let got = apart(&body, Limits::default());
        assert_eq!(got, Err(problem), "{}", body.escape_ascii());
    }
}

#[test]
fn entries_for_which_there_is_no_room_are_left_and_one_that_is_too_much_alone_is_refused() {
    let limits = Limits {
        values_max: 10,
        ..Limits::default()
    };
    let list = |count: usize| [b"l".to_vec(), vec![b'n'; count], b";".to_vec()].concat();
    let (small, large) = (list(4), list(10));
    let read = |entries: &[&[u8]]| apart(&around(entries), limits).expect("an envelope");
    let envelope = read(&[&large, &small, &small, b"n"]);
    let entries = envelope.entries.expect("the list");
    assert_eq!((entries.len(), envelope.left), (2, 2));
    let refused = entries[0].as_ref().expect_err("too much");
    assert_eq!(refused.refusal.problem, Problem::Values);
    assert!(entries[1].is_ok());
    // What was left comes first the next time.
    assert_eq!(read(&[&small, b"n"]).left, 0);
}

#[test]
fn the_text_under_a_key_is_found_whatever_else_is_wrong() {
    for (bytes, found) in [
        (b"du4:bad1u1:\xffu4:typeu1:a;".as_slice(), Some("a")),
        (b"ds4:types1:a;", Some("a")),
        (b"du4:typeu1:au4:typeu1:b;", Some("b")),
        (b"dnnu4:typeu1:ai1;;", Some("a")),
        (b"du4:typei1;;", None),
        (b"du4:typeu1:\xff;", None),
        (b"du1:ldu4:typeu1:a;;", None),
        (b"lu4:typeu1:a;", None),
        (b"du4:type", None),
        (b"", None),
    ] {
        let text = bytes.escape_ascii();
        assert_eq!(text_at(bytes, "type").as_deref(), found, "{text}");
    }
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
            vec((key.clone(), inner), 0..8).prop_map(|entries| Value::Dict(entries.into())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(value in any_value()) {
        prop_assert_eq!(parse(&write(&value)), Ok(value));
    }

    #[test]
    fn no_document_takes_more_memory_than_its_weight(value in any_value()) {
        let bytes = write(&value);
        let read = parse(&bytes).expect("a document");
        prop_assert!(size_of::<Value>() + heap(&read) <= weight(&bytes, Limits::default()));
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
    fn every_float_is_read_back_and_has_one_form(bits: u64) {
        let number = f64::from_bits(bits);
        let written = write(&Value::Float(number));
        let read = parse(&written).expect("our own form").as_float().expect("a float");
        prop_assert!(read.to_bits() == bits || (read.is_nan() && number.is_nan()));
        prop_assert_eq!(write(&Value::Float(read)), written);
    }

    #[test]
    fn a_float_in_any_other_form_is_refused(text in "-?[0-9]{1,4}(\\.[0-9]{0,6})?(e[-+]?[0-9]{1,3})?") {
        let bytes = format!("f{text};").into_bytes();
        if let Ok(value) = parse(&bytes) {
            let written = write(&value);
            let pointed = format!("f{text}.0;").into_bytes();
            prop_assert!(written == bytes || written == pointed);
        }
    }

    #[test]
    fn entries_are_what_they_are_in_the_whole(entries in vec(any_value(), 0..6), field in any_value()) {
        let whole = Value::dict([("messages", Value::List(entries.clone())), ("other", field.clone())]);
        let envelope = apart(&write(&whole), Limits::default()).expect("an envelope");
        let read: Vec<_> = envelope.entries.expect("the list").into_iter().collect::<Result<_, _>>().expect("no entry is spoilt");
        prop_assert_eq!(read, entries);
        prop_assert_eq!(envelope.fields, Dict::from([("other".into(), field)]));
    }

    #[test]
    fn an_entry_that_is_spoilt_anywhere_spoils_no_other(value in any_value()) {
        let spoilt = [b"l".to_vec(), write(&value), b"u1:\xff;".to_vec()].concat();
        let body = around(&[b"i1;", &spoilt, b"i2;"]);
        let entries = apart(&body, Limits::default()).expect("an envelope").entries.expect("the list");
        prop_assert_eq!((&entries[0], &entries[2]), (&Ok(Value::Int(1)), &Ok(Value::Int(2))));
        prop_assert_eq!(entries[1].as_ref().map_err(|spoilt| spoilt.refusal.problem), Err(Problem::Text));
    }

    #[test]
    fn no_bytes_do_harm(bytes in vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
        let _ = apart(&bytes, Limits::default());
        let _ = text_at(&bytes, "type");
        let _ = apart(&around(&[&bytes]), Limits { depth_max: 3, values_max: 20, entries_max: 2 });
        let _ = weight(&bytes, Limits::default());
    }
}
