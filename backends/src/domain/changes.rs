//! What does an upload say of itself? The fields of a `.changes` file (deb-changes(5)).

use std::collections::BTreeMap;

use deb822_fast::{Deb822, Paragraph};

use super::repository::is_plain;

/// Most files of one upload.
pub const FILES_MAX: usize = 200;

/// An upload, as its `.changes` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The suite it is meant for.
    pub distribution: String,
    /// The files that belong to it.
    pub files: Vec<File>,
}

/// A file that belongs to an upload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// Its plain name.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub md5: String,
    /// Lower-case hexadecimal; empty where it is not told.
    pub sha1: String,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// Reads the text of a `.changes` file without its signature.
///
/// # Errors
///
/// What is missing or contradicts itself, in words for the uploader.
pub fn read(text: &str) -> Result<Changes, String> {
    let paragraph = only_paragraph(text)?;
    let field = |name: &str| {
        let value = paragraph.get(name).map(str::trim);
        value.ok_or_else(|| format!("the .changes has no field {name}"))
    };
    let distribution = field("Distribution")?.to_owned();
    let architectures = field("Architecture")?;
    if architectures.split_whitespace().any(|one| one == "source") {
        return Err("only binary packages are taken: build with dpkg-buildpackage -b".to_owned());
    }
    let mut files = BTreeMap::new();
    for line in lines(field("Files")?) {
        let [md5, size, _section, _priority, name] = words(line, "Files")?;
        let file = File {
            size: number(size)?,
            md5: digest(md5, 32)?,
            name: plain(name)?,
            ..File::default()
        };
        if files.insert(file.name.clone(), file).is_some() {
            return Err(format!("Files names {name} twice"));
        }
    }
    if files.is_empty() || files.len() > FILES_MAX {
        return Err(format!("Files names 1 to {FILES_MAX} files"));
    }
    for line in lines(field("Checksums-Sha256")?) {
        let [sha256, size, name] = words(line, "Checksums-Sha256")?;
        of(&mut files, name, size)?.sha256 = digest(sha256, 64)?;
    }
    for line in lines(paragraph.get("Checksums-Sha1").unwrap_or_default()) {
        let [sha1, size, name] = words(line, "Checksums-Sha1")?;
        of(&mut files, name, size)?.sha1 = digest(sha1, 40)?;
    }
    let files: Vec<File> = files.into_values().collect();
    if let Some(bare) = files.iter().find(|file| file.sha256.is_empty()) {
        return Err(format!("Checksums-Sha256 does not name {}", bare.name));
    }
    Ok(Changes {
        distribution,
        files,
    })
}

/// The only paragraph of a text, with each field once.
pub(super) fn only_paragraph(text: &str) -> Result<Paragraph, String> {
    let read: Deb822 = text
        .replace('\r', "")
        .parse()
        .map_err(|problem| format!("fields that cannot be read: {problem}"))?;
    let mut paragraphs = read.into_iter();
    let (Some(paragraph), None) = (paragraphs.next(), paragraphs.next()) else {
        return Err("not one paragraph of fields".to_owned());
    };
    let mut names: Vec<String> = paragraph
        .iter()
        .map(|(name, _)| name.to_ascii_lowercase())
        .collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(format!("the field {} stands there twice", pair[0])),
        None => Ok(paragraph),
    }
}

fn lines(value: &str) -> impl Iterator<Item = &str> {
    value.lines().map(str::trim).filter(|line| !line.is_empty())
}

fn words<'a, const N: usize>(line: &'a str, field: &str) -> Result<[&'a str; N], String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    words
        .try_into()
        .map_err(|_| format!("{field} has a line without its {N} words"))
}

fn of<'a>(
    files: &'a mut BTreeMap<String, File>,
    name: &str,
    size: &str,
) -> Result<&'a mut File, String> {
    let size = number(size)?;
    match files.get_mut(name) {
        Some(file) if file.size == size => Ok(file),
        Some(_) => Err(format!("two sizes of {name}")),
        None => Err("a checksum of a file that Files does not name".to_owned()),
    }
}

fn plain(name: &str) -> Result<String, String> {
    match is_plain(name) {
        true => Ok(name.to_owned()),
        false => Err("Files names what is no plain file name".to_owned()),
    }
}

fn number(size: &str) -> Result<u64, String> {
    size.parse()
        .map_err(|_| "a size that is no number".to_owned())
}

fn digest(hex: &str, length: usize) -> Result<String, String> {
    let right = hex.len() == length && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    match right {
        true => Ok(hex.to_ascii_lowercase()),
        false => Err(format!(
            "a checksum that is not {length} hexadecimal digits"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        let (md5, sha1, sha256) = ("0".repeat(32), "1".repeat(40), "A".repeat(64));
        format!(
            "Format: 1.8\nDistribution: noble-staging\nArchitecture: all\nDescription:\n x - y\n\
             Checksums-Sha1:\n {sha1} 7 a_1_all.deb\nChecksums-Sha256:\n {sha256} 7 a_1_all.deb\n\
             Files:\n {md5} 7 net optional a_1_all.deb\n"
        )
    }

    #[test]
    fn what_an_upload_says_is_read() {
        for text in [text(), text().replace('\n', "\r\n")] {
            let changes = read(&text).expect("right");
            assert_eq!(changes.distribution, "noble-staging");
            let [file] = &changes.files[..] else {
                panic!("{changes:?}");
            };
            assert_eq!((file.name.as_str(), file.size), ("a_1_all.deb", 7));
            assert_eq!(file.sha256, "a".repeat(64));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (from, to, said) in [
            ("Distribution: noble-staging\n", "", "no field Distribution"),
            (
                "Architecture: all",
                "Architecture: source all",
                "only binary",
            ),
            (
                "optional a_1_all.deb",
                "optional ../a.deb",
                "no plain file name",
            ),
            (
                "optional a_1_all.deb",
                "optional b_1_all.deb",
                "does not name",
            ),
            ("optional a_1", "a_1", "without its 5 words"),
            (" 7 net", " seven net", "no number"),
            (" 7 net", " 8 net", "two sizes"),
            ("AAA 7 a", "AA 7 a", "64 hexadecimal"),
            ("AAAA", "AAZA", "64 hexadecimal"),
            ("Format", "Files: x\nFormat", "twice"),
            ("Files:", "\nFiles:", "paragraph"),
        ] {
            let wrong = text().replacen(from, to, 1);
            assert_ne!(wrong, text(), "{from}");
            let problem = read(&wrong).expect_err(from);
            assert!(problem.contains(said), "{said}: {problem}");
        }
        assert!(read("").is_err());
        assert!(read("no field at all").is_err());
    }
}
