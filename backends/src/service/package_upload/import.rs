//! Is an upload complete and right, and how does it get in? All of it in one transaction.
//!
//! Files are checked first, without holding anything: signature, suite, digests, what the packages say of
//! themselves. Then the pool is locked, packages get their places in it, the database says that the
//! pocket offers them, and only that commit makes them count. A package that lies in the pool without
//! it, because a worker was killed in between, is offered to nobody.

use std::fs::File;
use std::path::PathBuf;
use std::time::SystemTime;

use axum::http::StatusCode;
use sha2::{Digest, Sha256};
use tracing::info;

use super::receive::beside;
use super::{Desk, show};
use crate::archive::digests::{self, hex};
use crate::archive::openpgp::{Certificate, Signed};
use crate::archive::{deb, pool};
use crate::domain::changes::{self, Changes};
use crate::domain::control::{self, Control};
use crate::domain::repository::{Digests, Package, pool_path};
use crate::error::Error;
use crate::store::repository::{self, Pocket, Stored};
use crate::store::{self, Tx};

/// A package of an upload that was checked.
struct Checked {
    /// Where it came in.
    came: PathBuf,
    stored: Stored,
}

/// What an upload consists of.
#[derive(Default)]
struct Content {
    /// Came with it.
    new: Vec<Checked>,
    /// In the pool already: their numbers.
    known: Vec<i64>,
    /// Came with it and is not kept.
    dropped: Vec<PathBuf>,
}

/// Imports what a `.changes` of this plain name completes. How it ended, and what the uploader is told.
pub async fn import(
    desk: &Desk,
    pocket: &Pocket,
    name: &str,
    bytes: &[u8],
) -> Result<(&'static str, String), Error> {
    let sha256: [u8; 32] = Sha256::digest(bytes).into();
    let (certificates, known) = {
        let mut connection = desk.store.connection().await?;
        let tx = store::begin(&mut connection).await?;
        let certificates = repository::uploaders(&tx, pocket.id).await?;
        (
            certificates,
            repository::is_known(&tx, pocket.id, &sha256).await?,
        )
    };
    let (changes, signer) = examine(pocket, bytes, certificates).await?;
    if !known {
        let content = gather(desk, pocket, &changes).await?;
        let signer = signer.as_deref();
        let again = commit(desk, pocket, name, &sha256, signer, &content).await?;
        clear(content).await?;
        info!(place = %pocket.place, name, signer, again, "imported");
    }
    // Also where it was known: a worker may have been killed before it was shown.
    show::show(desk, pocket.id).await?;
    let end = if known { "repeated" } else { "imported" };
    Ok((end, format!("{name}: in {}\n", pocket.place)))
}

fn refused(why: impl Into<String>) -> Error {
    Error::Refused(StatusCode::BAD_REQUEST, why.into())
}

/// Reads a `.changes` and checks who signed it and where it is to go.
async fn examine(
    pocket: &Pocket,
    bytes: &[u8],
    certificates: Vec<String>,
) -> Result<(Changes, Option<String>), Error> {
    let text = String::from_utf8(bytes.to_vec());
    let text = text.map_err(|_| refused("the .changes is not UTF-8"))?;
    let unsigned_uploads = pocket.unsigned_uploads;
    let checked = beside(move || Ok(signature(&text, &certificates, unsigned_uploads))).await?;
    let (text, signer) = checked?;
    let changes = changes::read(&text).map_err(refused)?;
    let suite = pocket.place.suite();
    if changes.distribution != suite {
        let told: String = changes.distribution.chars().take(100).collect();
        return Err(refused(format!(
            "its Distribution is {told}, this pocket takes {suite}"
        )));
    }
    Ok((changes, signer))
}

/// The text that counts, and the fingerprint of who signed it.
fn signature(
    text: &str,
    certificates: &[String],
    unsigned_uploads: bool,
) -> Result<(String, Option<String>), Error> {
    let forbidden = |why: &str| Error::Refused(StatusCode::FORBIDDEN, why.to_owned());
    let now = SystemTime::now();
    let signed = Signed::read(text).map_err(refused)?;
    // One that expired meanwhile counts no more.
    let certificates: Vec<Certificate> = certificates
        .iter()
        .filter_map(|armored| Certificate::read(armored, now).ok())
        .collect();
    match signed {
        Some(signed) => match signed.signer(&certificates, now) {
            Some(signer) => Ok((signed.text(), Some(signer))),
            None if unsigned_uploads => Ok((signed.text(), None)),
            None => Err(forbidden(
                "the .changes is not signed by a key that may upload here",
            )),
        },
        None if unsigned_uploads => Ok((text.to_owned(), None)),
        None => Err(forbidden("the .changes is not signed")),
    }
}

/// Finds and checks every file that belongs to an upload.
async fn gather(desk: &Desk, pocket: &Pocket, changes: &Changes) -> Result<Content, Error> {
    let mut content = Content::default();
    for file in &changes.files {
        let came = desk.incoming.find(pocket.id, &file.sha256, &file.name);
        let is_package = file.name.ends_with(".deb");
        if !is_package && !file.name.ends_with(".buildinfo") {
            return Err(refused(format!(
                "{}: only binary packages (.deb) are taken",
                file.name
            )));
        }
        let Some(came) = came else {
            match in_pool(desk, pocket, file).await? {
                Some(id) => content.known.push(id),
                None if is_package => {
                    return Err(refused(format!("{} did not come", file.name)));
                }
                None => {}
            }
            continue;
        };
        let (told, path) = (file.clone(), came.clone());
        let digests = beside(move || digests::of(File::open(&path)?)).await?;
        compare(&told, &digests)?;
        if !is_package {
            content.dropped.push(came);
            continue;
        }
        let path = came.clone();
        let read = beside(move || Ok(deb::control(File::open(&path)?))).await?;
        let text = read.map_err(|problem| refused(format!("{}: {problem}", file.name)))?;
        let control =
            control::read(&text).map_err(|problem| refused(format!("{}: {problem}", file.name)))?;
        fits(pocket, &file.name, &control)?;
        content.new.push(Checked {
            came,
            stored: stored(&file.name, control, digests),
        });
    }
    if content.new.is_empty() && content.known.is_empty() {
        return Err(refused("it has no package"));
    }
    Ok(content)
}

async fn in_pool(desk: &Desk, pocket: &Pocket, file: &changes::File) -> Result<Option<i64>, Error> {
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    let sha256 = from_hex(&file.sha256);
    Ok(repository::with_digest(&tx, &pocket.place, &file.name, &sha256).await?)
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .filter_map(|digit| u8::try_from(digit).ok())
        .collect();
    digits
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| (byte << 4) | digit))
        .collect()
}

fn compare(told: &changes::File, are: &Digests) -> Result<(), Error> {
    let sha1 = told.sha1.is_empty() || told.sha1 == hex(&are.sha1);
    let same = told.size == are.size
        && told.md5 == hex(&are.md5)
        && sha1
        && told.sha256 == hex(&are.sha256);
    match same {
        true => Ok(()),
        false => Err(refused(format!(
            "{} is not what the .changes says: size or checksums differ",
            told.name
        ))),
    }
}

/// Does a package belong into this pocket, under this name?
fn fits(pocket: &Pocket, name: &str, control: &Control) -> Result<(), Error> {
    let wanted = control.file_name();
    if name != wanted {
        return Err(refused(format!("{name} must be called {wanted}")));
    }
    let architecture = &control.architecture;
    if architecture != "all" && !pocket.architectures.contains(architecture) {
        return Err(refused(format!(
            "{name}: this pocket takes {} and all, not {architecture}",
            pocket.architectures.join(", ")
        )));
    }
    Ok(())
}

fn stored(name: &str, control: Control, digests: Digests) -> Stored {
    Stored {
        name: name.to_owned(),
        indexed: Package {
            path: pool_path(&control.component, &control.source, name),
            architecture: control.architecture,
            component: control.component,
            control: control.text,
            digests,
        },
        package: control.package,
        version: control.version,
    }
}

/// Makes it count. True where somebody else had imported it a moment ago.
async fn commit(
    desk: &Desk,
    pocket: &Pocket,
    name: &str,
    sha256: &[u8],
    signer: Option<&str>,
    content: &Content,
) -> Result<bool, Error> {
    let mut connection = desk.store.connection().await?;
    let tx = store::begin(&mut connection).await?;
    repository::lock_pool(&tx, &pocket.place).await?;
    if repository::is_known(&tx, pocket.id, sha256).await? {
        return Ok(true);
    }
    let mut ids = content.known.clone();
    for checked in &content.new {
        ids.push(put_in_pool(desk, &tx, pocket, checked).await?);
    }
    repository::imported(&tx, pocket.id, name, sha256, signer, &ids).await?;
    store::commit(tx).await?;
    Ok(false)
}

async fn put_in_pool(
    desk: &Desk,
    tx: &Tx<'_>,
    pocket: &Pocket,
    checked: &Checked,
) -> Result<i64, Error> {
    let indexed = &checked.stored.indexed;
    match repository::at_path(tx, &pocket.place, &indexed.path).await? {
        Some((id, sha256)) if sha256 == indexed.digests.sha256 => return Ok(id),
        Some(_) => {
            let why = format!(
                "{} is there already with other content: give it another version",
                checked.stored.name
            );
            return Err(Error::Refused(StatusCode::CONFLICT, why));
        }
        None => {}
    }
    let id = repository::add_file(tx, &pocket.place, &checked.stored).await?;
    let place = &pocket.place;
    let root = pool::root(&desk.directory, &place.account, &place.distribution);
    let (came, path) = (checked.came.clone(), indexed.path.clone());
    beside(move || pool::place(&came, &root, &path)).await?;
    Ok(id)
}

/// Forgets what came; it is in the pool now. What another upload needs of it, it finds there.
async fn clear(content: Content) -> Result<(), Error> {
    let came = content.new.into_iter().map(|checked| checked.came);
    let came: Vec<PathBuf> = came.chain(content.dropped).collect();
    beside(move || {
        for path in came {
            // What cannot be removed now expires.
            let _ = std::fs::remove_file(path);
        }
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_as_they_are_written() {
        assert_eq!(from_hex("00ffA1"), [0, 255, 161]);
        assert_eq!(from_hex(&hex(&[7; 32])), [7; 32]);
    }
}
