//! How is a suite shown to apt? A folder of indexes that takes the place of the one before in one step.
//!
//! A folder is written whole under a name of its own (`.SUITE@REVISION-KEY`), and then the link `SUITE`
//! is moved to it: apt sees all of the old or all of the new. Who read the old `Release` a moment ago
//! still finds its indexes by their digests (`Acquire-By-Hash`), which are carried along for a while.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::digests::{self, hex};
use super::openpgp::Signer;
use super::{fresh_name, sync_dir};
use crate::domain::repository::{Digests, Package};

/// How long indexes that are not shown any more can be had by their digests.
const CARRIED: Duration = Duration::from_secs(3600);
/// So many of them.
const CARRIED_MAX: usize = 200;

/// What a suite offers.
#[derive(Clone, Debug)]
pub struct Suite {
    /// Its name, a plain one: `noble-staging`.
    pub name: String,
    /// What it is at.
    pub revision: i64,
    /// Of each there is an index.
    pub architectures: Vec<String>,
    /// Its packages.
    pub packages: Vec<Package>,
}

/// An index, by its path below the suite.
struct Index {
    path: String,
    bytes: Vec<u8>,
}

impl Suite {
    /// The folder of what is shown at this revision, signed by this key.
    fn folder(&self, signer: Option<&Signer>) -> String {
        let key = signer.map_or_else(|| "unsigned".to_owned(), Signer::fingerprint);
        let key: String = key.chars().take(16).collect();
        format!(".{}@{}-{key}", self.name, self.revision)
    }

    /// Is this what is shown already?
    pub fn is_shown(&self, root: &Path, signer: Option<&Signer>) -> bool {
        let shown = fs::read_link(root.join("dists").join(&self.name));
        shown.is_ok_and(|shown| shown == Path::new(&self.folder(signer)))
    }

    /// Shows it. Whoever calls must be the only one to do so for this suite.
    ///
    /// # Errors
    ///
    /// The file system's, or the key's. What was shown before stays then.
    pub fn show(&self, root: &Path, signer: Option<&Signer>, now: SystemTime) -> io::Result<()> {
        let dists = root.join("dists");
        fs::create_dir_all(&dists)?;
        let link = dists.join(&self.name);
        let before = fs::read_link(&link).ok().map(|name| dists.join(name));
        let folder = dists.join(self.folder(signer));
        let work = dists.join(format!(".work-{}", fresh_name()));
        let written = self
            .write(&work, signer, now)
            .and_then(|()| stamp(&work, stamp_after(before.as_deref(), now)))
            .and_then(|()| carry(before.as_deref(), &work, now));
        if let Err(problem) = written {
            let _ = fs::remove_dir_all(&work);
            return Err(problem);
        }
        // Of a try that ended before the link was moved.
        let _ = fs::remove_dir_all(&folder);
        fs::rename(&work, &folder)?;
        let aside = dists.join(format!(".link-{}", fresh_name()));
        symlink(self.folder(signer), &aside)?;
        fs::rename(&aside, &link)?;
        sync_dir(&dists)?;
        self.remove_old(&dists, &folder, before.as_deref(), now);
        Ok(())
    }

    fn write(&self, dir: &Path, signer: Option<&Signer>, now: SystemTime) -> io::Result<()> {
        let mut indexes = Vec::new();
        for component in self.components() {
            for architecture in &self.architectures {
                let plain = self.packages_of(component, architecture).into_bytes();
                let path = format!("{component}/binary-{architecture}/Packages");
                let mut packed = GzEncoder::new(Vec::new(), Compression::best());
                packed.write_all(&plain)?;
                indexes.push(Index {
                    path: format!("{path}.gz"),
                    bytes: packed.finish()?,
                });
                indexes.push(Index { path, bytes: plain });
            }
        }
        let mut entries = Vec::new();
        for index in &indexes {
            let digests = digests::of(&index.bytes[..])?;
            let path = dir.join(&index.path);
            let folder = path.parent().unwrap_or(dir);
            let by_hash = folder.join("by-hash/SHA256");
            fs::create_dir_all(&by_hash)?;
            write(&path, &index.bytes)?;
            let named = by_hash.join(hex(&digests.sha256));
            // Two indexes of the same bytes have one name.
            if !named.exists() {
                fs::hard_link(&path, named)?;
            }
            entries.push((index.path.as_str(), digests));
        }
        let release = self.release(&entries, now);
        write(&dir.join("Release"), release.as_bytes())?;
        if let Some(signer) = signer {
            let signed = signer.clear(&release).map_err(io::Error::other)?;
            write(&dir.join("InRelease"), signed.as_bytes())?;
            let apart = signer
                .detached(release.as_bytes())
                .map_err(io::Error::other)?;
            write(&dir.join("Release.gpg"), apart.as_bytes())?;
        }
        sync_dir(dir)
    }

    fn components(&self) -> Vec<&str> {
        let mut names = vec!["main"];
        names.extend(self.packages.iter().map(|one| one.component.as_str()));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The index of one architecture: its packages and those for all.
    fn packages_of(&self, component: &str, architecture: &str) -> String {
        let mut text = String::new();
        for one in &self.packages {
            let fits = one.architecture == architecture || one.architecture == "all";
            if one.component != component || !fits {
                continue;
            }
            let Digests {
                size,
                md5,
                sha1,
                sha256,
            } = &one.digests;
            text.push_str(one.control.trim_end());
            text.push_str(&format!(
                "\nFilename: {}\nSize: {size}\nMD5sum: {}\nSHA1: {}\nSHA256: {}\n\n",
                one.path,
                hex(md5),
                hex(sha1),
                hex(sha256)
            ));
        }
        text
    }

    fn release(&self, entries: &[(&str, Digests)], now: SystemTime) -> String {
        let date = httpdate::fmt_http_date(now).replace("GMT", "UTC");
        let mut text = format!(
            "Origin: Portcullis\nLabel: Portcullis\nSuite: {0}\nCodename: {0}\nDate: {date}\n\
             Architectures: {1}\nComponents: {2}\nAcquire-By-Hash: yes\n",
            self.name,
            self.architectures.join(" "),
            self.components().join(" ")
        );
        text.push_str("MD5Sum:\n");
        for (path, digests) in entries {
            text.push_str(&format!(" {} {} {path}\n", hex(&digests.md5), digests.size));
        }
        text.push_str("SHA256:\n");
        for (path, digests) in entries {
            text.push_str(&format!(
                " {} {} {path}\n",
                hex(&digests.sha256),
                digests.size
            ));
        }
        text
    }

    /// Folders of this suite but for these two, and what a try left that was killed.
    fn remove_old(&self, dists: &Path, shown: &Path, before: Option<&Path>, now: SystemTime) {
        let mine = format!(".{}@", self.name);
        for entry in fs::read_dir(dists).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            if name.starts_with(&mine) && path != shown && Some(path.as_path()) != before {
                let _ = fs::remove_dir_all(path);
            } else if name.starts_with(".work-") || name.starts_with(".link-") {
                // Another suite's may be at work.
                let written = entry.metadata().and_then(|told| told.modified());
                let old = |at| now.duration_since(at).is_ok_and(|age| age > CARRIED);
                if written.is_ok_and(old) {
                    let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
                }
            }
        }
    }
}

/// When a suite is said to be from: later than the one before, by a whole second, because that is how apt
/// asks whether there is something new.
fn stamp_after(before: Option<&Path>, now: SystemTime) -> SystemTime {
    let before = before.and_then(|before| fs::metadata(before.join("Release")).ok());
    let before = before.and_then(|told| told.modified().ok());
    before.map_or(now, |before| now.max(before + Duration::from_secs(1)))
}

/// Sets the time of every file of a suite.
fn stamp(dir: &Path, at: SystemTime) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        match path.is_dir() {
            true => stamp(&path, at)?,
            false => File::open(&path)?.set_modified(at)?,
        }
    }
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Links what could be had by its digest until now, where it is not too old, into the new folder.
fn carry(before: Option<&Path>, folder: &Path, now: SystemTime) -> io::Result<()> {
    let Some(before) = before else {
        return Ok(());
    };
    let mut carried = 0;
    for place in by_hash(before) {
        let Ok(below) = place.strip_prefix(before) else {
            continue;
        };
        let to = folder.join(below);
        fs::create_dir_all(&to)?;
        for entry in fs::read_dir(&place)?.flatten() {
            let written = entry.metadata().and_then(|told| told.modified());
            // What was written while we were at it is of later than `now`.
            let age = |at| now.duration_since(at).unwrap_or_default();
            let fresh = written.is_ok_and(|at| age(at) < CARRIED);
            let named = to.join(entry.file_name());
            if fresh && carried < CARRIED_MAX && !named.exists() {
                fs::hard_link(entry.path(), named)?;
                carried += 1;
            }
        }
    }
    Ok(())
}

/// The folders `COMPONENT/binary-ARCHITECTURE/by-hash/SHA256` of a suite.
fn by_hash(suite: &Path) -> Vec<PathBuf> {
    let below = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let indexes = below(suite).into_iter().flat_map(|dir| below(&dir));
    indexes
        .map(|index| index.join("by-hash/SHA256"))
        .filter(|dir| dir.is_dir())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suite(revision: i64, packages: &[&str]) -> Suite {
        let package = |name: &&str| Package {
            path: format!("pool/main/x/{name}.deb"),
            architecture: "all".to_owned(),
            component: "main".to_owned(),
            control: format!("Package: {name}\nVersion: 1\n"),
            digests: digests::of(name.as_bytes()).expect("memory"),
        };
        Suite {
            name: "noble-staging".to_owned(),
            revision,
            architectures: vec!["amd64".to_owned()],
            packages: packages.iter().map(package).collect(),
        }
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("a folder").flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_suite_takes_the_place_of_the_one_before_and_leaves_two() {
        let root = std::env::temp_dir().join(format!("backends-suite-{}", fresh_name()));
        let (now, signer) = (SystemTime::now(), Signer::generate("x").expect("a key"));
        for revision in 1..=4 {
            let suite = suite(revision, &["a", "b"][..usize::from(revision > 2) + 1]);
            assert!(!suite.is_shown(&root, None));
            suite.show(&root, None, now).expect("shown");
            assert!(suite.is_shown(&root, None));
            assert!(!suite.is_shown(&root, Some(&signer)));
        }
        let dists = root.join("dists");
        let left = [
            ".noble-staging@3-unsigned",
            ".noble-staging@4-unsigned",
            "noble-staging",
        ];
        assert_eq!(names(&dists), left);
        let index = dists.join("noble-staging/main/binary-amd64");
        let text = fs::read_to_string(index.join("Packages")).expect("an index");
        // Four within a moment; apt tells them apart by whole seconds.
        let release = fs::metadata(dists.join("noble-staging/Release")).expect("a file");
        let ahead = release.modified().expect("a time").duration_since(now);
        assert!(ahead.expect("not before") >= Duration::from_secs(3));
        assert!(text.contains("Package: a\nVersion: 1\nFilename: pool/main/x/a.deb\n"));
        assert_eq!(text.matches("\n\n").count(), 2, "{text}");
        // Those of before can still be had: two texts, each packed and not.
        assert_eq!(names(&index.join("by-hash/SHA256")).len(), 4);
        suite(5, &[])
            .show(&root, None, now + CARRIED * 2)
            .expect("shown");
        assert_eq!(names(&index.join("by-hash/SHA256")).len(), 2);
        assert!(!dists.join("noble-staging/InRelease").exists());

        let signed = suite(5, &[]);
        signed.show(&root, Some(&signer), now).expect("shown");
        let text = fs::read_to_string(dists.join("noble-staging/InRelease")).expect("signed");
        assert!(text.contains("Suite: noble-staging\n"));
        assert!(dists.join("noble-staging/Release.gpg").exists());
        fs::remove_dir_all(root).expect("ours");
    }
}
