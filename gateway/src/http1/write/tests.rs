//! Does what is written say what was meant?

use super::*;

fn written(write: impl FnOnce(&mut BytesMut)) -> String {
    let mut out = BytesMut::new();
    write(&mut out);
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn lines_have_the_form_of_the_grammar() {
    assert_eq!(written(|out| field(out, b"a", b"b")), "a: b\r\n");
    assert_eq!(written(|out| field(out, b"a", b"")), "a: \r\n");
    assert_eq!(
        written(|out| number_field(out, b"a", u64::MAX)),
        "a: 18446744073709551615\r\n"
    );
    assert_eq!(
        written(|out| request_line(out, b"GET", b"/x?y")),
        "GET /x?y HTTP/1.1\r\n"
    );
    assert_eq!(written(|out| status_line(out, 200)), "HTTP/1.1 200 OK\r\n");
    // The space stays where there is no phrase (RFC 9112 section 4).
    assert_eq!(written(|out| status_line(out, 599)), "HTTP/1.1 599 \r\n");
    assert_eq!(reason(1000), "");
}

#[test]
fn chunk_sizes_are_hexadecimal_without_leading_zeros() {
    for size in [0, 1, 9, 10, 15, 16, 255, 256, 4095, 65_536, usize::MAX] {
        assert_eq!(
            written(|out| chunk_size(out, size)),
            format!("{size:x}\r\n")
        );
    }
}
