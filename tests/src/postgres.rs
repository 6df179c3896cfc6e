//! How does a database die? A PostgreSQL server of one test's own, which can be killed and started again. What
//! it has committed is kept, so it is slower than the one that tests share.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::eventually::patience;
use crate::ports::free_range;
use crate::stack::{self, Database};

const NAME: &str = "portcullis-postgres";

/// A server of one test's own.
pub struct Postgres {
    dir: PathBuf,
    port: u16,
    child: Child,
}

impl Postgres {
    /// A fresh one.
    pub fn start() -> Postgres {
        stack::remove_leftovers(NAME);
        let name = format!("{NAME}-{}-{:08x}", std::process::id(), fastrand::u32(..));
        let (dir, port) = (std::env::temp_dir().join(name), free_range(1));
        let child = start(&dir, port);
        let server = Postgres { dir, port, child };
        server.until_ready();
        server
    }

    fn url(&self) -> Option<String> {
        let url = std::fs::read_to_string(self.dir.join("url")).ok()?;
        Some(url.trim().to_owned())
    }

    /// A database with the schema in it.
    pub fn database(&self) -> Database {
        let url = self.url().expect("a server that is ready has an address");
        Database::with_schema(&url)
    }

    /// Kills it as the kernel would: no goodbye.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again where it was.
    pub fn restart(&mut self) {
        let end = Instant::now() + patience() * 2;
        loop {
            // Processes of the old server may still hold its memory; then it says so and ends.
            self.child = start(&self.dir, self.port);
            if self.answers_before_it_ends() {
                return;
            }
            assert!(Instant::now() < end, "PostgreSQL does not start again");
        }
    }

    fn until_ready(&self) {
        let end = Instant::now() + patience() * 2;
        while !self.answers() {
            let log = std::fs::read_to_string(self.dir.with_extension("log"));
            assert!(
                Instant::now() < end,
                "PostgreSQL does not start (as root, scripts/setup.sh installs it):\n{}",
                log.unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn answers_before_it_ends(&mut self) -> bool {
        loop {
            if self.answers() {
                return true;
            }
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn answers(&self) -> bool {
        let asked = |url: String| stack::psql_command(&url).args(["-c", "select 1"]).output();
        let answer = self.url().map(asked);
        matches!(answer, Some(Ok(output)) if output.status.success())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
        let _ = std::fs::remove_file(self.dir.with_extension("log"));
    }
}

fn start(dir: &std::path::Path, port: u16) -> Child {
    let log = std::fs::File::create(dir.with_extension("log")).expect("a log can be made");
    Command::new(stack::root().join("scripts/postgres.sh"))
        .arg(dir)
        .arg(port.to_string())
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("one more handle"))
        .stderr(log)
        .spawn()
        .expect("scripts/postgres.sh can be started")
}
