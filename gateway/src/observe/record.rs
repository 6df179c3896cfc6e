//! What is remembered of an exchange? The line of the access log.

use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

/// One exchange, as the access log tells it. Names are stable.
#[derive(Debug, Serialize)]
pub struct Record<'a> {
    /// When it began, RFC 3339 in UTC with milliseconds.
    pub time: &'a str,
    /// Name of the listener.
    pub listener: &'a str,
    /// The client's address.
    pub client: IpAddr,
    /// `HTTP/1.0`, `HTTP/1.1` or `HTTP/2.0`; empty where none was spoken.
    pub protocol: &'a str,
    /// `TLSv1.2` or `TLSv1.3`; absent on plain connections.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub tls: &'a str,
    /// Subject of the client's certificate; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_subject: Option<&'a str>,
    /// SHA-256 of the client's certificate in hexadecimal; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_fingerprint: Option<&'a str>,
    /// Method.
    pub method: &'a str,
    /// `Host` or `:authority`.
    pub host: &'a str,
    /// Path without the query, which may hold secrets.
    pub path: &'a str,
    /// Status the client saw; 0 when it saw none.
    pub status: u16,
    /// Name of the route.
    pub route: &'a str,
    /// Name of the pool.
    pub pool: &'a str,
    /// The worker that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker: Option<SocketAddr>,
    /// The request's id.
    pub request_id: &'a str,
    /// Bytes of the request body.
    pub bytes_in: u64,
    /// Bytes of the response body.
    pub bytes_out: u64,
    /// From the head to the end, milliseconds.
    pub duration_ms: f64,
    /// Waited for a worker, milliseconds.
    pub wait_ms: f64,
    /// Attempts after the first.
    pub retries: u32,
    /// `ok`, or who ended it and why.
    pub end: &'a str,
}

/// RFC 3339 in UTC with milliseconds, from milliseconds since 1970.
pub fn rfc3339(out: &mut String, unix_ms: u64) {
    use std::fmt::Write;
    let days = (unix_ms / 86_400_000) as i64;
    let ms = unix_ms % 86_400_000;
    // Days to a civil date by eras of 400 years, with March as the first month.
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (h, m, s, ms) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    let _ = write!(
        out,
        "{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z"
    );
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_told_in_rfc_3339() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_795_456_799_999, "2026-11-23T17:59:59.999Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
        ] {
            let mut out = String::new();
            super::rfc3339(&mut out, ms);
            assert_eq!(out, text);
        }
    }
}
