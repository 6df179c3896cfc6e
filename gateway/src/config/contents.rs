//! What stands in the files that answers are made of?
//!
//! Promises: each file is read once, before anything is served, and is bounded; what cannot be read is told with its
//! place. Does not: look at the files again; a reload does.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;

use super::model::{Action, Config, Content};
use super::problem::Problem;

/// Reads the files that the configuration names, into it. Returns what stops it.
pub fn read_contents(config: &mut Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let routes = config.routes.iter_mut();
    let contents = routes.filter_map(|route| match &mut route.action {
        Action::Respond(fixed) => Some(&mut fixed.body),
        _ => None,
    });
    for content in contents {
        read(content, &mut problems);
    }
    problems
}

fn read(content: &mut Content, problems: &mut Vec<Problem>) {
    let Some(path) = &content.file else {
        return;
    };
    match bytes_of(path) {
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

fn bytes_of(path: &Path) -> Result<Bytes, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let kind = file.metadata().map_err(|error| error.to_string())?;
    if !kind.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let mut bytes = Vec::new();
    // A file that grows meanwhile is found out, too.
    file.take(Content::BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > Content::BYTES_MAX {
        return Err(format!("it is larger than {} bytes", Content::BYTES_MAX));
    }
    Ok(bytes.into())
}
