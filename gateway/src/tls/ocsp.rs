//! What does the authority say of our certificate? Responses of OCSP (RFC 6960) that are stapled to handshakes.
//!
//! Promises: only what says of this very certificate that it is good, and still counts, is shown. The signature is left to
//! clients, who verify it anyway. Does not: fetch responses.

use std::path::Path;

use der::Decode;
use x509_ocsp::{BasicOcspResponse, CertStatus, OcspResponse, OcspResponseStatus};
use x509_parser::certificate::X509Certificate;

use super::load::read;
use crate::config::model::Place;
use crate::config::problem::Problem;

/// Largest response.
const BYTES_MAX: u64 = 64 * 1024;

/// A response that can be shown.
#[derive(Debug)]
pub struct Staple {
    /// As the authority made it.
    pub der: Vec<u8>,
    /// Until when it counts, seconds since 1970; for ever where it does not say.
    pub until: Option<i64>,
}

/// Reads the response for a leaf. One that is out of date is a warning and nothing to show. `now` is in seconds since 1970.
pub fn load(
    path: &Path,
    place: Place,
    leaf: &X509Certificate<'_>,
    now: i64,
) -> Result<Staple, Problem> {
    let file = path.display();
    let wrong = |what: &str| {
        Problem::error(place, format!("{file}: {what}"))
            .hint("fetch it again: `openssl ocsp -issuer CA -cert CERT -url URL -respout FILE`")
    };
    let der = read(path, place, BYTES_MAX)?;
    let response =
        OcspResponse::from_der(&der).map_err(|_| wrong("not a response of OCSP (DER)"))?;
    if response.response_status != OcspResponseStatus::Successful {
        return Err(wrong("the authority did not answer the question"));
    }
    let bytes = response
        .response_bytes
        .ok_or_else(|| wrong("the response is empty"))?;
    let basic = BasicOcspResponse::from_der(bytes.response.as_bytes())
        .map_err(|_| wrong("not a basic response of OCSP"))?;
    let serial = unpadded(leaf.tbs_certificate.raw_serial());
    let ours = basic
        .tbs_response_data
        .responses
        .iter()
        .find(|each| unpadded(each.cert_id.serial_number.as_bytes()) == serial)
        .ok_or_else(|| wrong("the response is about another certificate"))?;
    match ours.cert_status {
        CertStatus::Good(_) => {}
        CertStatus::Revoked(_) => return Err(wrong("the authority has revoked the certificate")),
        CertStatus::Unknown(_) => return Err(wrong("the authority does not know the certificate")),
    }
    let until = ours
        .next_update
        .as_ref()
        .map(|until| i64::try_from(until.0.to_unix_duration().as_secs()).unwrap_or(i64::MAX));
    if until.is_some_and(|until| until < now) {
        return Err(Problem::warning(
            place,
            format!("{file}: the response is out of date and not shown"),
        )
        .hint("fetch a newer one"));
    }
    Ok(Staple { der, until })
}

/// Whether a byte of sign stands in front differs between encoders.
fn unpadded(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|byte| **byte == 0).count();
    &serial[zeros..]
}
