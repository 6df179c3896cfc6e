//! What is logged? `RUST_LOG`, as `info` or `warn,backends=debug`; `info` where nothing is said.

use std::ffi::OsString;

use tracing::metadata::LevelFilter;
use tracing_subscriber::EnvFilter;

const VARIABLE: &str = "RUST_LOG";
/// What is logged where nothing is said.
const DEFAULT: &str = "info";
/// A target of our own, for which a word alone may stand.
const OURS: &str = "backends";
/// Those of the edge, which may be started in one environment with us. They match nothing here.
const THE_EDGE: [&str; 2] = ["gateway", "portcullis"];

/// The filter that the environment names.
///
/// # Errors
///
/// It is none. A word alone would be taken for a target, and silence all others: one that is no level
/// is a mistake.
pub fn filter(environment: &[(OsString, OsString)]) -> Result<String, String> {
    let found = environment.iter().find(|(name, _)| name == VARIABLE);
    let Some((_, value)) = found.filter(|(_, value)| !value.is_empty()) else {
        return Ok(DEFAULT.to_owned());
    };
    let wrong = |what: &str| {
        format!(
            "{VARIABLE}: {what}: it is a level (off, error, warn, info, debug, trace), or \
             TARGET=LEVEL, with commas between several"
        )
    };
    let text = value.to_str().ok_or_else(|| wrong("not UTF-8"))?;
    EnvFilter::try_new(text).map_err(|problem| wrong(&format!("`{text}`: {problem}")))?;
    let is_a_word = text.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_known = text.parse::<LevelFilter>().is_ok() || text == OURS || THE_EDGE.contains(&text);
    match is_a_word && !is_known {
        true => Err(wrong(&format!("`{text}` is no level"))),
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<String, String> {
        filter(&[(VARIABLE.into(), value.into())])
    }

    #[test]
    fn what_is_no_filter_is_told_and_nothing_means_info() {
        assert_eq!(filter(&[]).as_deref(), Ok("info"));
        assert_eq!(read("").as_deref(), Ok("info"));
        for good in [
            "debug",
            "OFF",
            "backends",
            "gateway",
            "portcullis",
            "warn,backends=debug",
            "lapin::io=trace",
        ] {
            assert_eq!(read(good).as_deref(), Ok(good));
        }
        for wrong in ["verbose", "backends=loud", "info,=x", "a=b=c"] {
            let told = read(wrong).expect_err(wrong);
            assert!(
                told.starts_with("RUST_LOG: `") && told.contains("TARGET=LEVEL"),
                "{told}"
            );
        }
    }
}
