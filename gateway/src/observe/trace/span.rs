//! What is told of an exchange in a trace? A span, in the words of OpenTelemetry's conventions for HTTP.

use std::time::Duration;

/// One exchange as the collector hears of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Span {
    /// The trace.
    pub trace_id: u128,
    /// Ours.
    pub span_id: [u8; 8],
    /// Who called.
    pub parent: Option<[u8; 8]>,
    /// `GET /api -> app`.
    pub name: String,
    /// Nanoseconds since 1970.
    pub began: u64,
    /// From the head to the end.
    pub taken: Duration,
    /// Why it failed, where it did.
    pub failed: Option<&'static str>,
    /// By name.
    pub attributes: Vec<(&'static str, Value)>,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// Milliseconds and the like.
    Real(f64),
}
