//! What was asked for?
//!
//! [`parse`] turns a text into a [`model::Config`] or tells every mistake in it at once. It is pure:
//! no file is opened, no port is tried, and variables come from the closure that is handed in. The files
//! that answers are made of are read by [`contents::read_contents`].

mod check;
pub mod contents;
mod dependency;
pub mod ephemeral;
mod expand;
pub mod files;
mod logs;
pub mod model;
pub mod network;
pub mod problem;
mod read;
pub mod reference;
mod tree;
mod units;
pub mod written;

#[cfg(test)]
mod tests;

pub use check::networks::network as network_of;
pub use check::standby::{SENTENCE, is_sentence};
pub use problem::{Problem, Severity, Source, render};
pub use tree::TEXT_BYTES_MAX;

use model::Config;

/// What came of reading a configuration.
#[derive(Debug)]
pub struct Checked {
    /// The configuration; there exactly when no problem is an error.
    pub config: Option<Config>,
    /// Every mistake and doubt, in the order of the file.
    pub problems: Vec<Problem>,
}

/// Reads and checks a configuration. `env` is asked for the variables in `${NAME}`.
pub fn parse(source: &Source, env: &dyn Fn(&str) -> Option<String>) -> Checked {
    parse_with(source, env, read::Reader::default()).0
}

/// The reader comes back, for those who want to know what was asked.
/// What a configuration says of the operators' doors, whatever else is wrong with it; `None` where it cannot be told. For
/// who looks for the gateway that still runs: the usual place may be another gateway's.
pub fn admin_of(
    source: &Source,
    env: &dyn Fn(&str) -> Option<String>,
) -> Option<Option<model::Admin>> {
    let mut problems = Vec::new();
    let mut tree = tree::parse(source, &mut problems)?;
    expand::expand(&mut tree, env, &mut problems);
    let mut reader = read::Reader::default();
    let admin = check::admin_alone(&tree, &mut reader);
    let (_, failed) = reader.finish();
    admin.filter(|_| !failed)
}

fn parse_with(
    source: &Source,
    env: &dyn Fn(&str) -> Option<String>,
    mut reader: read::Reader,
) -> (Checked, read::Reader) {
    let mut problems = Vec::new();
    let tree = tree::parse(source, &mut problems).map(|mut tree| {
        expand::expand(&mut tree, env, &mut problems);
        tree
    });
    problems
        .into_iter()
        .for_each(|problem| reader.tell(problem));
    let config = tree.and_then(|tree| check::check(&tree, &mut reader));
    let (problems, failed) = reader.finish();
    let checked = Checked {
        config: config.filter(|_| !failed),
        problems,
    };
    (checked, reader)
}
