//! Where do packages lie? The only code that writes files: what comes in, the pool, what apt reads.
//!
//! Everything lies in one folder (`repository.directory`), on one file system, so that a file moves by
//! a rename and is there whole or not at all:
//!
//! ```text
//! ACCOUNT/DISTRIBUTION/pool/...           packages; never changed
//! ACCOUNT/DISTRIBUTION/dists/SUITE        a link to the folder that is shown now
//! ACCOUNT/DISTRIBUTION/dists/.SUITE@N...  what the suite showed at its revision N
//! .incoming/                              what is not complete
//! ```
//!
//! Names that begin with a dot are served to nobody. Functions here block: a service calls them beside
//! its runtime.

use std::fs::File;
use std::io;
use std::path::Path;

pub mod deb;
pub mod digests;
pub mod incoming;
pub mod openpgp;
pub mod pool;
pub mod suite;

/// Makes what a folder lists last beyond a loss of power.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// A name that nobody else uses.
fn fresh_name() -> String {
    format!("{:032x}", fastrand::u128(..))
}
