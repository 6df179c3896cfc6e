//! What does a package say of itself? The fields of its control file (deb-control(5)), and how an index
//! of packages shows them.

use super::changes::only_paragraph;
use super::repository::{component, is_plain};

/// Fields that an index adds and a control file must not bring along.
const OF_THE_INDEX: [&str; 8] = [
    "filename",
    "size",
    "md5sum",
    "sha1",
    "sha256",
    "sha512",
    "description-md5",
    "status",
];

/// A package, as its control file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// What it runs on, or `all`.
    pub architecture: String,
    /// The source it was built from.
    pub source: String,
    /// The part of the repository that it belongs to.
    pub component: String,
    /// Its fields, one paragraph that ends with a line end.
    pub text: String,
}

/// Reads a control file.
///
/// # Errors
///
/// What is missing or wrong, in words for the uploader.
pub fn read(text: &str) -> Result<Control, String> {
    let paragraph = only_paragraph(text).map_err(|problem| format!("control: {problem}"))?;
    let field = |name: &str| {
        let value = paragraph.get(name).map(str::trim).unwrap_or_default();
        match value.is_empty() || value.contains(['\n', '\0']) {
            true => Err(format!("control: no field {name}")),
            false => Ok(value.to_owned()),
        }
    };
    let package = field("Package")?;
    if !is_name(&package) {
        return Err("control: Package is no name of a package".to_owned());
    }
    let version = field("Version")?;
    if !is_version(&version) {
        return Err("control: Version is no version".to_owned());
    }
    let architecture = field("Architecture")?;
    if !is_plain(&architecture) {
        return Err("control: Architecture is none".to_owned());
    }
    let source = field("Source").unwrap_or_default();
    // The version stands behind it where it differs: `hello (1.0-2)`.
    let source = source.split_whitespace().next().unwrap_or(&package);
    if !is_name(source) {
        return Err("control: Source is no name of a package".to_owned());
    }
    let (source, component) = (
        source.to_owned(),
        component(paragraph.get("Section")).to_owned(),
    );
    let text = shown(text);
    if text.lines().any(|line| line.trim().is_empty()) {
        return Err("control: an empty line".to_owned());
    }
    Ok(Control {
        package,
        version,
        architecture,
        source,
        component,
        text,
    })
}

/// The lines as they are, without comments and without what only an index may say.
fn shown(text: &str) -> String {
    let mut out = String::new();
    let mut keep = true;
    for line in text.trim().lines() {
        let line = line.trim_end_matches('\r').replace('\0', "\u{fffd}");
        if line.starts_with('#') {
            continue;
        }
        if !line.starts_with([' ', '\t']) {
            let name = line.split(':').next().unwrap_or_default();
            let name = name.trim_end().to_ascii_lowercase();
            keep = !OF_THE_INDEX.contains(&name.as_str());
        }
        if keep {
            out.push_str(&line);
            out.push('\n');
        }
    }
    out
}

impl Control {
    /// The name that its file must have; an epoch stands in no name of a file.
    pub fn file_name(&self) -> String {
        let version = match self.version.split_once(':') {
            Some((_, version)) => version,
            None => &self.version,
        };
        format!("{}_{}_{}.deb", self.package, version, self.architecture)
    }
}

/// Lower-case letters, digits and `+ - .`, at least two of them, beginning with a letter or a digit.
fn is_name(name: &str) -> bool {
    let chars = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() >= 2
        && is_plain(name)
        && name
            .bytes()
            .all(|byte| chars(byte) || b"+-.".contains(&byte))
}

fn is_version(version: &str) -> bool {
    let (epoch, rest) = version.split_once(':').unwrap_or(("0", version));
    !epoch.is_empty() && epoch.bytes().all(|byte| byte.is_ascii_digit()) && is_plain(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Package: hello\nSource: hello-src (1.0)\nVersion: 1:1.0-1\n\
        Architecture: amd64\nSection: contrib/net\nFilename: ../evil\nsha256 : 00\n 11\n\
        Description: says hello\n To all.\n .\n  * twice\n";

    #[test]
    fn what_a_package_says_is_read() {
        let control = read(TEXT).expect("right");
        assert_eq!(control.file_name(), "hello_1.0-1_amd64.deb");
        assert_eq!(control.source, "hello-src");
        assert_eq!(control.component, "contrib");
        assert!(
            control.text.ends_with("\n .\n  * twice\n"),
            "{}",
            control.text
        );
        // What only the index may say is not taken from a stranger.
        assert!(!control.text.to_lowercase().contains("filename"));
        assert!(!control.text.contains("sha256"));
        let again = read(&control.text).expect("what is shown can be read");
        assert_eq!(again.text, control.text);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, said) in [
            ("Package: hello", "Package: ../x", "Package"),
            ("Package: hello", "Package: h", "Package"),
            ("Package: hello\n", "", "Package"),
            ("1:1.0-1", "1:", "Version"),
            ("1:1.0-1", "x:1", "Version"),
            ("1:1.0-1", "1/2", "Version"),
            ("amd64", "a/b", "Architecture"),
            ("hello-src", "../x", "Source"),
            ("Section", "Package: b\nSection", "twice"),
            ("Section", "\nSection", "paragraph"),
        ] {
            let problem = read(&TEXT.replacen(from, to, 1)).expect_err(to);
            assert!(problem.contains(said), "{said}: {problem}");
        }
    }
}
