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

use crate::settings::{Shared, Wrong};

pub mod deb;
pub mod digests;
pub mod incoming;
pub mod openpgp;
pub mod pool;
pub mod suite;

/// What is wrong with the folders of the settings: what is not there is made, or comes.
pub fn check(settings: &Shared) -> Vec<Wrong> {
    let repository = &settings.repository;
    let folders = [
        ("directory", &repository.directory),
        ("hash_id_databases", &repository.hash_id_databases),
    ];
    let wrong = folders.into_iter().filter_map(|(key, folder)| {
        let folder = folder.as_ref()?;
        let is_else = folder.metadata().is_ok_and(|it| !it.is_dir());
        is_else.then(|| Wrong {
            section: "repository",
            key,
            what: format!("`{key}`: {} is no folder", folder.display()),
        })
    });
    wrong.collect()
}

/// Makes what a folder lists last beyond a loss of power.
fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// A name that nobody else uses.
fn fresh_name() -> String {
    format!("{:032x}", fastrand::u128(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_folder_is_told() {
        let file = std::env::temp_dir().join(format!("backends-folder-{}", fresh_name()));
        std::fs::write(&file, "").expect("a file");
        let read = |folder: &Path| {
            let set = ["DIRECTORY", "HASH_ID_DATABASES"].map(|key| {
                let name = format!("BACKENDS_REPOSITORY__{key}");
                (name.into(), folder.as_os_str().to_owned())
            });
            Shared::read(None, set, &[check])
        };
        let told = read(&file).expect_err("a file");
        std::fs::remove_file(&file).expect("it is there");
        assert_eq!(told.matches("is no folder").count(), 2, "{told}");
        assert!(read(&std::env::temp_dir()).is_ok());
        assert!(read(&file).is_ok(), "what is not there is made, or comes");
    }
}
