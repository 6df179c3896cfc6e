//! What stands in the files that answers are made of?
//!
//! Promises: each file is read once, before anything is served, and is bounded; what cannot be read is told with its
//! place. Does not: look at the files again; a reload does.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;

use super::model::{Action, Config, Content, ErrorPage, ErrorPages};
use super::problem::Problem;

/// Reads the files that the configuration names, into it. Returns what stops it.
pub fn read_contents(config: &mut Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut pages: Vec<&mut ErrorPages> = config.errors.as_deref_mut().into_iter().collect();
    let listeners = config.listeners.iter_mut();
    pages.extend(listeners.filter_map(|listener| listener.errors.as_deref_mut()));
    for route in &mut config.routes {
        if let Action::Respond(fixed) = &mut route.action {
            read(&mut fixed.body, Content::BYTES_MAX, &mut problems);
        }
        pages.extend(route.errors.as_deref_mut());
    }
    for page in pages.into_iter().flat_map(|pages| &mut pages.0) {
        let forms = [&mut page.html, &mut page.json, &mut page.text];
        for content in forms.into_iter().flatten() {
            read(content, ErrorPage::BYTES_MAX, &mut problems);
            if std::str::from_utf8(&content.bytes).is_err() {
                problems.push(
                    Problem::error(content.place, "the page is not in UTF-8")
                        .hint("write it in UTF-8, which its `Content-Type` says"),
                );
            }
        }
    }
    problems
}

fn read(content: &mut Content, bytes_max: u64, problems: &mut Vec<Problem>) {
    let Some(path) = &content.file else {
        return;
    };
    match bytes_of(path, bytes_max) {
        Ok(bytes) => content.bytes = bytes,
        Err(why) => problems.push(
            Problem::error(
                content.place,
                format!("`{}` cannot be used: {why}", path.display()),
            )
            .hint("paths count from the directory that the gateway is started in"),
        ),
    }
}

fn bytes_of(path: &Path, bytes_max: u64) -> Result<Bytes, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let kind = file.metadata().map_err(|error| error.to_string())?;
    if !kind.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let mut bytes = Vec::new();
    // A file that grows meanwhile is found out, too.
    file.take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > bytes_max {
        return Err(format!("it is larger than {bytes_max} bytes"));
    }
    Ok(bytes.into())
}
