//! `[repository]`: where do packages lie, and what may come in?

use std::path::PathBuf;
use std::time::Duration;

use super::keys::Keys;

/// What package upload and the application server are told about repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// `directory`: where packages lie. None: there are no repositories.
    pub directory: Option<PathBuf>,
    /// `signing_key`: a file with the armored secret key that signs them. None: they are not signed.
    pub signing_key: Option<PathBuf>,
    /// `hash_id_databases`: a folder of files that agents ask for. None: there are none.
    pub hash_id_databases: Option<PathBuf>,
    /// `file_bytes_max`: largest file of an upload, bytes. Default 1 GiB.
    pub file_bytes_max: u64,
    /// `incoming_bytes_max`: what may wait for the `.changes` of one pocket, bytes. Default 8 GiB.
    pub incoming_bytes_max: u64,
    /// `incoming_files_max`: the same, files. Default 1000.
    pub incoming_files_max: usize,
    /// `uploads_max`: files that are received at once. Default 16.
    pub uploads_max: usize,
    /// `piece_timeout`: longest wait for the next piece of a file. Default 1m.
    pub piece_timeout: Duration,
    /// `expire`: how long what is not complete is kept. Default 12h.
    pub expire: Duration,
    /// `look`: time between two looks for what is to be shown or expires. Default 10s.
    pub look: Duration,
}

const GIB: usize = 1 << 30;

pub(super) fn read(keys: &mut Keys) -> Repository {
    let section = "repository";
    let path = |text: String| (!text.is_empty()).then(|| PathBuf::from(text));
    let bytes = |count: usize| count as u64;
    Repository {
        directory: path(keys.text(section, "directory", "")),
        signing_key: path(keys.text(section, "signing_key", "")),
        hash_id_databases: path(keys.text(section, "hash_id_databases", "")),
        file_bytes_max: bytes(keys.count(section, "file_bytes_max", 1..=64 * GIB, GIB)),
        incoming_bytes_max: bytes(keys.count(
            section,
            "incoming_bytes_max",
            1..=1024 * GIB,
            8 * GIB,
        )),
        incoming_files_max: keys.count(section, "incoming_files_max", 1..=100_000, 1000),
        uploads_max: keys.count(section, "uploads_max", 1..=1000, 16),
        piece_timeout: keys.duration(section, "piece_timeout", Duration::from_secs(60)),
        expire: keys.duration(section, "expire", Duration::from_secs(12 * 3600)),
        look: keys.duration(section, "look", Duration::from_secs(10)),
    }
}
