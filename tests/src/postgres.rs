//! How does a database die? A PostgreSQL server of one test's own, which can be killed and started again. What
//! it has committed is kept, so it is slower than the one that tests share.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::certs::Issued;
use crate::eventually::patience;
use crate::ports::free_range;
use crate::stack::{self, Database, Held};

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

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it wrote into its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.with_extension("log")).unwrap_or_default()
    }

    /// A session that is open until the value is dropped.
    pub fn session(&self) -> Held {
        let url = self.url().expect("a server that is ready has an address");
        Database::bare(&url).hold("select 1")
    }

    /// From now on it speaks TLS, and shows this.
    pub fn speak_tls(&self, shown: &Issued) {
        let data = self.dir.join("data");
        let owner = std::fs::metadata(&data).expect("it has its data there");
        for (name, text) in [("server.crt", &shown.chain), ("server.key", &shown.key)] {
            let file = data.join(name);
            std::fs::write(&file, text).expect("its owner, or root, may write there");
            let private = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(&file, private).expect("our own file");
            chown(&file, Some(owner.uid()), Some(owner.gid())).expect("to ourselves, or by root");
        }
        let url = self.url().expect("a server that is ready has an address");
        let database = Database::bare(&url);
        database.sql("alter system set ssl = on");
        database.sql("select pg_reload_conf()");
    }

    /// Asks it to stop when the last session ends; until then it takes no new ones.
    pub fn shut_down(&self) {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(told.is_ok_and(|status| status.success()));
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
