//! What can an operator do for repositories? Make pockets, say who uploads, make a key that signs.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::archive::openpgp::{Certificate, Signer};
use crate::domain::repository::{Place, is_plain};
use crate::settings;
use crate::store::{self, Store, repository};

/// What a pocket is to be.
#[derive(Debug, clap::Args)]
pub struct Pocket {
    /// ACCOUNT/DISTRIBUTION/SERIES/POCKET; apt knows it as SERIES-POCKET
    place: String,
    /// What its packages run on
    #[arg(long, value_delimiter = ',', default_value = "amd64,arm64")]
    architectures: Vec<String>,
    /// File with the armored certificate of somebody who may sign uploads; may be repeated
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Take uploads that nobody signed, from anybody who reaches the port
    #[arg(long)]
    allow_unsigned: bool,
}

/// Makes a pocket, or changes what there is.
///
/// # Errors
///
/// What is wrong, in words for the operator.
pub async fn pocket(settings: &settings::Store, wanted: &Pocket) -> Result<String, String> {
    let place = Place::read(&wanted.place).ok_or_else(|| {
        format!(
            "{} is no place of the form standalone/ubuntu/noble/staging",
            wanted.place
        )
    })?;
    if let Some(wrong) = wanted.architectures.iter().find(|name| !is_plain(name)) {
        return Err(format!("`{wrong}` is no architecture"));
    }
    let mut keys = Vec::new();
    for file in &wanted.key {
        let at = |problem: String| format!("{}: {problem}", file.display());
        let armored = fs::read_to_string(file).map_err(|cause| at(cause.to_string()))?;
        let certificate = Certificate::read(&armored, SystemTime::now()).map_err(at)?;
        keys.push((certificate.fingerprint(), armored));
    }
    let put = put(settings, &place, wanted, &keys).await;
    match put.map_err(|problem| problem.to_string())? {
        false => Err(format!("there is no account {}", place.account)),
        true => Ok(told(&place, wanted, &keys)),
    }
}

async fn put(
    settings: &settings::Store,
    place: &Place,
    wanted: &Pocket,
    keys: &[(String, String)],
) -> store::Result<bool> {
    let store = Store::open(settings).await?;
    let mut connection = store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let unsigned = wanted.allow_unsigned;
    let id = repository::put_pocket(&tx, place, &wanted.architectures, unsigned).await?;
    let Some(id) = id else {
        return Ok(false);
    };
    repository::set_uploaders(&tx, id, keys).await?;
    store::commit(tx).await?;
    Ok(true)
}

fn told(place: &Place, wanted: &Pocket, keys: &[(String, String)]) -> String {
    let who = match (keys.len(), wanted.allow_unsigned) {
        (_, true) => "anybody may upload, also unsigned".to_owned(),
        (0, false) => "nobody may upload: name certificates with --key".to_owned(),
        (count, false) => format!("{count} certificates may sign uploads"),
    };
    format!("schema: pocket {place}: {who}")
}

/// Makes a key: the secret one in `file`, its certificate beside it with the ending `.asc`, by which
/// apt knows that it is armored.
///
/// # Errors
///
/// What is wrong, in words for the operator. A file that is there is not touched.
pub fn signing_key(file: &Path, owner: &str) -> Result<String, String> {
    let signer = Signer::generate(owner)?;
    let public = PathBuf::from(format!("{}.asc", file.display()));
    write(file, 0o600, &signer.secret()?)?;
    write(&public, 0o644, &signer.certificate()?)?;
    Ok(format!(
        "schema: key {} in {}, for apt's Signed-By in {}",
        signer.fingerprint(),
        file.display(),
        public.display()
    ))
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), String> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let written = options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|cause| format!("{}: {cause}", path.display()))
}
