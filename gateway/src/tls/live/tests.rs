use std::time::{Duration, UNIX_EPOCH};

use rcgen::{CertificateParams, KeyPair, SerialNumber};

use super::*;
use crate::config::model::{Certificate, Place, TlsVersion, UnknownNames};

/// A listener's files, which go when the test ends.
struct Files(PathBuf);

const SERIAL: u8 = 7;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

impl Files {
    fn new(name: &str) -> Files {
        let path = std::env::temp_dir().join(format!("portcullis-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Files(path)
    }

    /// A certificate with its key, valid from one year to another.
    fn certificate(&self, from: i32, until: i32) {
        let mut params = CertificateParams::new(vec!["edge.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        params.serial_number = Some(SerialNumber::from(vec![SERIAL]));
        let key = KeyPair::generate().unwrap();
        let chain = params.self_signed(&key).unwrap().pem();
        std::fs::write(self.0.join("edge.pem"), chain + &key.serialize_pem()).unwrap();
    }

    fn model(&self, ocsp: bool) -> Tls {
        let chain = self.0.join("edge.pem");
        Tls {
            certificates: vec![Certificate {
                key: chain.clone(),
                chain,
                ocsp: ocsp.then(|| self.0.join("edge.ocsp")),
                place: Place::default(),
            }],
            unknown_names: UnknownNames::DefaultCertificate,
            min_version: TlsVersion::Tls12,
            watch: true,
            client_certificates: None,
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn summer(year: i32) -> SystemTime {
    let seconds = rcgen::date_time_ymd(year, 6, 1).unix_timestamp();
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap())
}

/// An element of DER (X.690 section 8.1).
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    let length: &[u8] = match body.len() {
        0..128 => &length[1..],
        128..256 => &[0x81, length[1]],
        _ => &[0x82, length[0], length[1]],
    };
    [&[tag], length, &body].concat()
}

/// A response of OCSP that calls the certificate good until then (RFC 6960 section 4.2.1); nobody has signed it.
fn good_until(until: &str) -> Vec<u8> {
    let time = |text: &str| der(0x18, &[text.as_bytes()]);
    let sha1 = der(0x30, &[&der(6, &[&[43, 14, 3, 2, 26]]), &der(5, &[])]);
    let hash = der(4, &[&[1; 20]]);
    let about = der(0x30, &[&sha1, &hash, &hash, &der(2, &[&[SERIAL]])]);
    let from = time("20200101000000Z");
    let until = der(0xa0, &[&time(until)]);
    let single = der(0x30, &[&about, &der(0x80, &[]), &from, &until]);
    let responder = der(0xa2, &[&hash]);
    let said = der(0x30, &[&responder, &from, &der(0x30, &[&single])]);
    let ecdsa = der(0x30, &[&der(6, &[&[42, 134, 72, 206, 61, 4, 3, 2]])]);
    let basic = der(0x30, &[&said, &ecdsa, &der(3, &[&[0, 1]])]);
    let kind = der(6, &[&[43, 6, 1, 5, 5, 7, 48, 1, 1]]);
    let bytes = der(0x30, &[&kind, &der(4, &[&basic])]);
    der(0x30, &[&der(10, &[&[0]]), &der(0xa0, &[&bytes])])
}

fn at(wall: SystemTime, steady: Instant) -> Clocks {
    Clocks { wall, steady }
}

fn picks_up(look: &Look) -> bool {
    matches!(look, Look::PickedUp(..))
}

#[test]
fn a_staple_that_a_wrong_clock_took_away_comes_back() {
    let files = Files::new("staple");
    files.certificate(2020, 2040);
    std::fs::write(files.0.join("edge.ocsp"), good_until("20300607000000Z")).unwrap();
    let (now, mut steady) = (summer(2030), Instant::now());
    let model = files.model(true);
    let (live, doubts) = Live::open(&model, Protocol::Http, now, None).unwrap();
    assert!(doubts.is_empty(), "{doubts:?}");
    let content = || live.watched().content;
    let with_staple = content();
    // Forwards by a month: it is out of date.
    steady += SECOND;
    assert!(picks_up(&live.look(at(now + 30 * DAY, steady))));
    assert_ne!(content(), with_staple);
    steady += SECOND;
    assert!(matches!(
        live.look(at(now + 30 * DAY + SECOND, steady)),
        Look::Same
    ));
    // And back: no file has changed.
    steady += SECOND;
    assert!(picks_up(&live.look(at(now + 3 * SECOND, steady))));
    assert_eq!(content(), with_staple);
    steady += SECOND;
    assert!(matches!(
        live.look(at(now + 4 * SECOND, steady)),
        Look::Same
    ));
}

#[test]
fn what_a_wrong_clock_refused_is_taken_once_the_clock_is_right() {
    let files = Files::new("refused");
    files.certificate(2020, 2040);
    let (now, mut steady) = (summer(2030), Instant::now());
    let (live, _) = Live::open(&files.model(false), Protocol::Http, now, None).unwrap();
    let old = live.watched().content;
    // Replaced while the clock is ten years ahead: to it, the new one has expired as well.
    files.certificate(2021, 2038);
    let ahead = summer(2041);
    assert!(matches!(live.look(at(ahead, steady)), Look::Moving));
    steady += SECOND;
    assert!(matches!(live.look(at(ahead, steady)), Look::Refused(_)));
    assert_eq!(live.watched().content, old, "the old one stays");
    steady += SECOND;
    assert!(
        matches!(live.look(at(ahead + SECOND, steady)), Look::Same),
        "told once"
    );
    steady += SECOND;
    assert!(picks_up(&live.look(at(now, steady))), "at once");
    assert_ne!(live.watched().content, old);
}

#[test]
fn a_wrong_clock_takes_nothing_away_that_is_shown() {
    let files = Files::new("shown");
    files.certificate(2020, 2040);
    let (now, mut steady) = (summer(2030), Instant::now());
    let (live, _) = Live::open(&files.model(false), Protocol::Http, now, None).unwrap();
    let (content, config) = (live.watched().content, live.config());
    for wrong in [summer(2050), UNIX_EPOCH, summer(2010), now] {
        steady += SECOND;
        assert!(
            matches!(live.look(at(wrong, steady)), Look::Same),
            "{wrong:?}"
        );
        assert_eq!(live.watched().content, content);
        assert!(Arc::ptr_eq(&live.config(), &config), "sessions go on");
    }
}
