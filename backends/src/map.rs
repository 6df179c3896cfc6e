//! Which service lives on which ports? The spans of the default deployment, for the page that shows
//! them. What the edge really does is in its own configuration; this table decides nothing.

/// The ports of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The service, under the name of its pool.
    pub service: &'static str,
    /// First port.
    pub first: u16,
    /// Last port, inclusive.
    pub last: u16,
    /// What it speaks.
    pub speaks: &'static str,
    /// A path at the edge that leads to it. None for gRPC services, which have a listener of their
    /// own, and for services that only other services use.
    pub path: Option<&'static str>,
}

/// The default deployment.
pub const MAP: [Span; 7] = [
    Span::http("appserver", 8070, 8079, "/"),
    Span::http("pingserver", 8080, 8089, "/ping"),
    Span::http("message-system", 8090, 9079, "/message-system"),
    Span::http("api", 9080, 9098, "/api"),
    Span {
        service: "package-search",
        first: 9099,
        last: 9099,
        speaks: "HTTP",
        path: None,
    },
    Span::http("package-upload", 9100, 9100, "/upload"),
    Span {
        service: "hostagent-messenger",
        first: 50052,
        last: 50052,
        speaks: "gRPC",
        path: None,
    },
];

impl Span {
    const fn http(service: &'static str, first: u16, last: u16, path: &'static str) -> Self {
        Self {
            service,
            first,
            last,
            speaks: "HTTP",
            path: Some(path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spans_are_in_order_and_do_not_overlap() {
        for pair in MAP.windows(2) {
            assert!(pair[0].first <= pair[0].last);
            assert!(pair[0].last < pair[1].first, "{pair:?}");
        }
    }
}
