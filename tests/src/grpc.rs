//! What do gRPC bytes look like? A flag, four bytes of length, the message.

use bytes::Bytes;
use http::{Method, Request, Version};

/// A message in its frame, not compressed.
pub fn frame(message: impl AsRef<[u8]>) -> Bytes {
    let message = message.as_ref();
    let length = u32::try_from(message.len()).expect("a test's message is below 4 GiB");
    let mut bytes = vec![0];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(message);
    bytes.into()
}

/// The messages of a whole body; panics when it does not end with a message.
pub fn messages(mut body: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while !body.is_empty() {
        assert!(body.len() >= 5, "a torn frame: {body:?}");
        let length = u32::from_be_bytes([body[1], body[2], body[3], body[4]]) as usize;
        assert!(body.len() >= 5 + length, "a torn message of {length} bytes");
        messages.push(body[5..5 + length].to_vec());
        body = &body[5 + length..];
    }
    messages
}

/// The request of a call.
pub fn call(path: &str) -> Request<()> {
    Request::builder()
        .method(Method::POST)
        .version(Version::HTTP_2)
        .uri(format!("https://edge.test{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a test's path is a valid URI")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_back() {
        let body = [frame("a"), frame(""), frame("bcd")].concat();
        assert_eq!(messages(&body), [b"a".to_vec(), vec![], b"bcd".to_vec()]);
    }
}
