//! What do WebSocket bytes look like (RFC 6455)? As little as a test needs, by hand.

/// A well-formed key for the handshake, and its answer as given in RFC 6455 section 1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The answer to [`KEY`]; for another key a wrong one, which no client would take.
pub fn accept_of(key: &str) -> String {
    if key == KEY { ACCEPT.into() } else { format!("no-answer-to-{key}") }
}

/// An opening handshake for HTTP/1.1.
pub fn opening(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: edge.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
    )
}

/// A masked text frame, as a client sends it. The text is at most 125 bytes long.
pub fn text_frame(text: &str) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let length = u8::try_from(text.len()).expect("a short text");
    assert!(length < 126, "a short text");
    let mut frame = vec![0x81, 0x80 | length];
    frame.extend_from_slice(&mask);
    frame.extend(text.bytes().enumerate().map(|(i, byte)| byte ^ mask[i % 4]));
    frame
}
