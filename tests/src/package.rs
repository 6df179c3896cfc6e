//! Who uploads packages, and what? Made by Debian's own tools, as an uploader makes them.
//!
//! `dpkg-deb` builds packages, coreutils tell their checksums, `gpg` signs. A missing tool is a failure
//! that says how to install it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::dir::TempDir;
use crate::stack::{Database, program};

/// Runs a program and returns what it printed; panics with what it said where it fails.
pub fn run(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|cause| {
            panic!("{command:?}: {cause}: run  scripts/setup.sh test  as root")
        });
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a package is made of.
pub struct Deb<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its version.
    pub version: &'a str,
    /// What it runs on.
    pub architecture: &'a str,
    /// What its only file says.
    pub text: &'a str,
    /// `gzip`, `xz`, `zstd` or `none`.
    pub compression: &'a str,
}

impl Default for Deb<'_> {
    fn default() -> Self {
        Deb {
            name: "hello",
            version: "1.0-1",
            architecture: "all",
            text: "hello\n",
            compression: "xz",
        }
    }
}

impl Deb<'_> {
    /// Builds it in a directory; the name of its file.
    pub fn build(&self, dir: &Path) -> String {
        let root = TempDir::new();
        let control = root.path().join("DEBIAN");
        std::fs::create_dir(&control).expect("a directory");
        let text = format!(
            "Package: {}\nVersion: {}\nArchitecture: {}\nMaintainer: Test <test@example.com>\n\
             Section: net\nPriority: optional\nDescription: says hello\n To everybody.\n",
            self.name, self.version, self.architecture
        );
        std::fs::write(control.join("control"), text).expect("a file");
        let share = root.path().join("usr/share/doc").join(self.name);
        std::fs::create_dir_all(&share).expect("a directory");
        std::fs::write(share.join("text"), self.text).expect("a file");
        let version = self.version.rsplit(':').next().unwrap_or_default();
        let name = format!("{}_{version}_{}.deb", self.name, self.architecture);
        let mut command = Command::new("dpkg-deb");
        command
            .args([
                "--root-owner-group",
                "-Z",
                self.compression,
                "--uniform-compression",
                "-b",
            ])
            .arg(root.path())
            .arg(dir.join(&name));
        run(&mut command);
        name
    }
}

/// The text of a `.changes` for files of a directory, not signed.
pub fn changes(dir: &Path, suite: &str, files: &[&str]) -> String {
    let lines = |program: &str, more: &str| -> String {
        let line = |name: &&str| {
            let path = dir.join(name);
            let told = run(Command::new(program).arg(&path));
            let digest = told.split(' ').next().unwrap_or_default().to_owned();
            let size = std::fs::metadata(&path).expect("the file is there").len();
            format!(" {digest} {size} {more}{name}\n")
        };
        files.iter().map(line).collect()
    };
    format!(
        "Format: 1.8\nDate: Sun, 29 Nov 2026 00:00:00 +0000\nSource: hello\nBinary: hello\n\
         Architecture: all\nVersion: 1.0-1\nDistribution: {suite}\nUrgency: medium\n\
         Maintainer: Test <test@example.com>\nChanged-By: Test <test@example.com>\n\
         Description:\n hello      - says hello\nChanges:\n hello (1.0-1) {suite}; urgency=medium\n .\n   * New.\n\
         Checksums-Sha1:\n{}Checksums-Sha256:\n{}Files:\n{}",
        lines("sha1sum", ""),
        lines("sha256sum", ""),
        lines("md5sum", "net optional ")
    )
}

/// Somebody with a key of GnuPG.
pub struct Uploader {
    home: TempDir,
    name: String,
    /// When all of it happens, as GnuPG writes it; None: now.
    when: Option<&'static str>,
}

impl Uploader {
    /// A new key; the certificate lies in the file [`Uploader::certificate`].
    pub fn new(name: &str) -> Uploader {
        Uploader::made(name, None, "never")
    }

    /// A key that was made on New Year's Day of 2020, and whose owner signs on that day; it ends `1y` later, or `never`.
    pub fn of_2020(name: &str, ends: &str) -> Uploader {
        Uploader::made(name, Some("20200101T000000"), ends)
    }

    fn made(name: &str, when: Option<&'static str>, ends: &str) -> Uploader {
        let uploader = Uploader {
            home: TempDir::new(),
            name: name.to_owned(),
            when,
        };
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(uploader.home.path(), mode).expect("our own directory");
        run(uploader.gpg().args([
            "--passphrase",
            "",
            "--quick-generate-key",
            &format!("{name} <{name}@example.com>"),
            "rsa2048",
            "sign",
            ends,
        ]));
        uploader.export();
        uploader
    }

    fn export(&self) {
        let armored = run(self.gpg().args(["--armor", "--export"]));
        self.home.write("certificate.asc", &armored);
    }

    /// Revokes the key, by what GnuPG made for this when it made the key. The certificate tells it then.
    pub fn revoke(&self) {
        let folder = self.home.path().join("openpgp-revocs.d");
        let mut files = std::fs::read_dir(folder).expect("GnuPG made it");
        let file = files.next().expect("one for the key").expect("readable");
        let text = std::fs::read_to_string(file.path()).expect("it is text");
        // A colon keeps it from being used by mistake.
        let (_, armored) = text.split_once(":-----BEGIN").expect("armored");
        let armored = format!("-----BEGIN{armored}");
        let file = self.home.write("revocation.asc", &armored);
        run(self.gpg().arg("--import").arg(file));
        self.export();
    }

    fn gpg(&self) -> Command {
        let mut command = Command::new("gpg");
        command
            .args(["--batch", "--quiet", "--no-tty", "--homedir"])
            .arg(self.home.path());
        if let Some(when) = self.when {
            command.args(["--faked-system-time", when]);
        }
        command
    }

    /// Its home, as `GNUPGHOME`.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Its certificate, armored.
    pub fn certificate(&self) -> PathBuf {
        self.home.path().join("certificate.asc")
    }

    /// Signs a text in clear.
    pub fn sign(&self, text: &str) -> String {
        let file = self.home.write("text", text);
        let user = format!("{}@example.com", self.name);
        let mut command = self.gpg();
        command.args(["--local-user", &user, "--output", "-", "--clearsign"]);
        run(command.arg(file))
    }
}

impl Drop for Uploader {
    fn drop(&mut self) {
        // The agent that gpg started for this home.
        let _ = Command::new("gpgconf")
            .args(["--kill", "all"])
            .env("GNUPGHOME", self.home.path())
            .output();
    }
}

/// Runs the program `schema` and returns what it printed.
pub fn schema(database: &Database, words: &[&str]) -> String {
    let mut command = Command::new(program("schema"));
    run(command
        .args(words)
        .env("BACKENDS_STORE__URL", database.url()))
}
