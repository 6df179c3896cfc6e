//! Is each header read as it was meant, however it comes, and everything else refused?

use proptest::prelude::*;

use super::*;
use crate::io::proxy_protocol as written;

fn address(text: &str) -> SocketAddr {
    text.parse().expect(text)
}

fn proxied(source: &str, destination: &str) -> Header {
    Header::Proxied {
        source: address(source),
        destination: address(destination),
    }
}

/// A header of version 2.
fn binary(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([command, family]);
    bytes.extend((body.len() as u16).to_be_bytes());
    bytes.extend(body);
    bytes
}

type Answer = Result<Option<(Header, usize)>, Malformed>;

/// The first answer of a reader that gets the bytes in these pieces.
fn in_pieces(bytes: &[u8], mut cuts: Vec<usize>) -> Answer {
    cuts.push(bytes.len());
    cuts.sort_unstable();
    for cut in cuts {
        match parse(&bytes[..cut.min(bytes.len())]) {
            Ok(None) => {}
            answer => return answer,
        }
    }
    Ok(None)
}

/// The same answer whole, byte by byte and with anything behind.
fn check(bytes: &[u8], want: Answer) {
    let shown = String::from_utf8_lossy(bytes);
    assert_eq!(parse(bytes), want, "{shown:?}");
    assert_eq!(
        in_pieces(bytes, (0..bytes.len()).collect()),
        want,
        "{shown:?} byte by byte"
    );
    if want != Ok(None) {
        let more = [bytes, b"GET / HTTP/1.1\r\n\r\n"].concat();
        assert_eq!(parse(&more), want, "{shown:?} with more behind");
    }
}

#[test]
fn lines_of_version_1_are_read() {
    let longest = "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
                   ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
    let all = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535";
    for (line, header) in [
        (
            "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n",
            proxied("192.0.2.1:56324", "192.0.2.2:443"),
        ),
        (
            "PROXY TCP4 255.255.255.255 0.0.0.0 0 65535\r\n",
            proxied("255.255.255.255:0", "0.0.0.0:65535"),
        ),
        (
            "PROXY TCP6 2001:db8::1 ::1 1 2\r\n",
            proxied("[2001:db8::1]:1", "[::1]:2"),
        ),
        (longest, proxied(all, all)),
        ("PROXY UNKNOWN\r\n", Header::Local),
        ("PROXY UNKNOWN ffff::1 what ever é\r\n", Header::Local),
    ] {
        check(line.as_bytes(), Ok(Some((header, line.len()))));
    }
}

#[test]
fn lines_that_break_the_specification_are_refused() {
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4  2\r\n",
        "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
        "PROXY TCP4 01.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP6 [::1] [::1] 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY TCP4 1.2.3.4\t1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n\r\n",
    ] {
        let answer = parse(line.as_bytes());
        assert!(
            matches!(answer, Err(Malformed::Broken(_))),
            "{line:?}: {answer:?}"
        );
        check(line.as_bytes(), answer);
    }
}

#[test]
fn a_line_without_an_end_is_cut_at_its_bound() {
    let mut line = b"PROXY UNKNOWN ".to_vec();
    line.resize(V1_BYTES_MAX - 2, b'x');
    check(&line, Ok(None));
    let whole = [&line[..], b"\r\n"].concat();
    check(&whole, Ok(Some((Header::Local, V1_BYTES_MAX))));
    line.push(b'x');
    check(&line, Ok(None));
    let over = [&line[..], b"\r\n"].concat();
    check(&over, Err(Malformed::TooLong));
}

#[test]
fn headers_of_version_2_are_read() {
    let four = [192, 0, 2, 1, 192, 0, 2, 2, 0xdc, 0x04, 1, 187];
    let mut six = [0; 36];
    (six[0], six[15], six[31], six[33], six[35]) = (0xfd, 1, 2, 3, 4);
    let with_tlv = [&four[..], &[0x04, 0, 3, 1, 2, 3]].concat();
    let largest = [&four[..], &vec![7; V2_BYTES_MAX - V2_HEAD - 12]].concat();
    let client = proxied("192.0.2.1:56324", "192.0.2.2:443");
    for (bytes, header) in [
        (binary(0x21, 0x11, &four), client),
        (binary(0x21, 0x11, &with_tlv), client),
        (binary(0x21, 0x11, &largest), client),
        (binary(0x21, 0x21, &six), proxied("[fd00::1]:3", "[::2]:4")),
        (binary(0x20, 0x00, &[]), Header::Local),
        (binary(0x20, 0x11, &four), Header::Local),
        (binary(0x20, 0xff, b"any"), Header::Local),
        (binary(0x21, 0x00, b"any"), Header::Local),
        (binary(0x21, 0x12, &four), Header::Local),
        (binary(0x21, 0x31, &[0; 216]), Header::Local),
    ] {
        check(&bytes, Ok(Some((header, bytes.len()))));
    }
}

#[test]
fn headers_of_version_2_that_break_the_specification_are_refused() {
    for bytes in [
        binary(0x11, 0x11, &[0; 12]),
        binary(0x22, 0x11, &[0; 12]),
        binary(0x31, 0x11, &[0; 12]),
        binary(0x21, 0x13, &[0; 12]),
        binary(0x21, 0x41, &[0; 36]),
        binary(0x21, 0x01, &[0; 12]),
        binary(0x21, 0x11, &[0; 11]),
        binary(0x21, 0x21, &[0; 35]),
        binary(0x21, 0x31, &[0; 215]),
    ] {
        let answer = parse(&bytes);
        assert!(
            matches!(answer, Err(Malformed::Broken(_))),
            "{bytes:?}: {answer:?}"
        );
        check(&bytes, answer);
    }
    let large = binary(0x21, 0x11, &vec![0; V2_BYTES_MAX - V2_HEAD + 1]);
    check(&large, Err(Malformed::TooLong));
    check(&large[..V2_HEAD], Err(Malformed::TooLong));
}

#[test]
fn what_is_something_else_is_known_at_its_first_byte_that_differs() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\x16\x03\x01",
        b"POST",
        b"PROXX",
        b"PROXY\t",
        b"\r\n\r\nGET",
        b"\r\n\r\n\0\r\nQUIT\r",
        b"proxy",
        b"\0",
    ] {
        check(bytes, Err(Malformed::Missing));
    }
    check(b"", Ok(None));
}

fn headers() -> impl Strategy<Value = Vec<u8>> {
    let line = "PROXY (TCP4|TCP6|UNKNOWN|[A-Z]{0,4}) ?[0-9a-f.: ]{0,100}(\r\n)?";
    prop_oneof![
        line.prop_map(String::into_bytes),
        (
            any::<u8>(),
            any::<u8>(),
            prop::collection::vec(any::<u8>(), 0..300)
        )
            .prop_map(|(command, family, body)| binary(0x20 | command & 1, family, &body)),
        (
            any::<u8>(),
            prop::sample::select(vec![0x00, 0x11, 0x21, 0x31]),
            prop::collection::vec(any::<u8>(), 0..300)
        )
            .prop_map(|(command, family, body)| binary(0x20 | command & 1, family, &body)),
        prop::collection::vec(any::<u8>(), 0..200),
    ]
}

fn sockets() -> impl Strategy<Value = SocketAddr> {
    (any::<IpAddr>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::new(ip, port))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same_answer(
        bytes in headers(),
        behind in prop::collection::vec(any::<u8>(), 0..40),
        cuts in prop::collection::vec(0usize..400, 0..6),
    ) {
        let all = [bytes, behind].concat();
        let whole = parse(&all);
        prop_assert_eq!(in_pieces(&all, cuts), whole);
        prop_assert_eq!(in_pieces(&all, (0..all.len()).collect()), whole);
        if let Ok(Some((_, length))) = whole {
            prop_assert!(length <= all.len());
            prop_assert_eq!(parse(&all[..length]), whole);
            prop_assert_eq!(parse(&all[..length - 1]), Ok(None));
        }
    }

    #[test]
    fn what_the_gateway_writes_it_reads(source in sockets(), destination in sockets()) {
        for bytes in [written::v1(source, destination), written::v2(source, destination)] {
            let Ok(Some((Header::Proxied { source: from, destination: to }, length))) = parse(&bytes) else {
                return Err(TestCaseError::fail(format!("{bytes:?}")));
            };
            let plain = |a: SocketAddr| (a.ip().to_canonical(), a.port());
            prop_assert_eq!(length, bytes.len());
            prop_assert_eq!((plain(from), plain(to)), (plain(source), plain(destination)));
        }
    }
}

#[test]
fn what_the_gateway_writes_for_itself_names_nobody() {
    for bytes in [written::V1_UNKNOWN, written::V2_LOCAL] {
        check(bytes, Ok(Some((Header::Local, bytes.len()))));
    }
}
