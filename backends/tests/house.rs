//! Does the code of the services keep to the plan of the house? Who may import whom, and who alone speaks SQL, AMQP
//! and with a Vault.
//!
//! Reads the sources as text: comments are left out, strings stand apart, and so do items under `#[cfg(test)]`. Does
//! not: know types; what is re-exported counts where it is named.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use source::{items, parts, without_tests, words};

#[path = "../../tests/house/source.rs"]
mod source;

/// A room, and what it may import besides itself: service -> {secret, broker} -> store -> domain, never back. A new
/// arrow is a change of the design: say in the commit why it is needed.
const HOUSE: [(&str, &[&str]); 20] = [
    // The ground floor: plain values, knowing nobody.
    ("bpickle", &[]),
    ("map", &[]),
    ("metrics", &[]),
    ("proto", &[]),
    ("settings", &[]),
    ("worker", &[]),
    // What is true without a database.
    ("domain", &["bpickle"]),
    // What is kept, where files are, and who else is spoken to.
    ("archive", &["domain", "settings"]),
    ("store", &["domain", "settings"]),
    ("secret", &["settings", "store", "worker"]),
    ("broker", &["domain", "settings", "worker"]),
    ("error", &["secret", "store"]),
    // How a worker lives and what happens to every request.
    ("stub", &["worker"]),
    ("front", &["metrics", "store", "stub", "worker"]),
    (
        "serve",
        &["broker", "metrics", "secret", "settings", "store", "worker"],
    ),
    // What each service answers.
    (
        "service",
        &[
            "archive", "bpickle", "broker", "domain", "error", "front", "map", "metrics", "proto",
            "secret", "serve", "settings", "store", "stub", "worker",
        ],
    ),
    // What an operator does; makes access keys as a page does.
    (
        "operator",
        &[
            "archive", "broker", "domain", "secret", "service", "settings", "store",
        ],
    ),
    ("bin", &["operator", "serve", "service"]),
    ("lib", &[]),
    ("tests", &[]),
];

/// Who alone may name a crate.
const SPEAK: [(&str, &[&str]); 6] = [
    ("tokio_postgres", &["store"]),
    ("deadpool_postgres", &["store"]),
    ("lapin", &["broker"]),
    // Requests to a Vault, and whom they trust.
    ("ureq", &["secret"]),
    ("rustls", &["secret"]),
    // Signatures of packages.
    ("pgp", &["archive"]),
];

/// What a statement of SQL begins with.
const STATEMENTS: [&str; 15] = [
    "select ",
    "insert into ",
    "update ",
    "delete from ",
    "with ",
    "create table ",
    "alter table ",
    "drop table ",
    "begin;",
    "commit;",
    "lock table ",
    "truncate ",
    "listen ",
    "notify ",
    "copy ",
];

/// A source file.
struct Source {
    name: String,
    room: String,
    /// How many modules it lies in, its own among them.
    depth: usize,
    text: String,
    /// Without comments and strings; lines stay where they are.
    code: String,
    /// Where it stands and what each string says.
    strings: Vec<(usize, String)>,
}

impl Source {
    fn line(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }
}

// ---- Rules ----

#[test]
fn every_arrow_between_rooms_is_in_the_plan() {
    let house = BTreeMap::from(HOUSE);
    let mut wrong = Vec::new();
    for source in sources() {
        let room = source.room.as_str();
        let Some(may) = house.get(room) else {
            wrong.push(format!(
                "{}: the room `{room}` is not in the table",
                source.name
            ));
            continue;
        };
        for (at, target) in arrows(&source.code, room, source.depth) {
            if target != room && !may.contains(&target.as_str()) {
                let line = source.line(at);
                let name = &source.name;
                wrong.push(format!(
                    "{name}:{line}: `{room}` names `{target}`, but may {may:?}"
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "arrows that the plan does not have: {wrong:#?}"
    );
}

#[test]
fn no_way_leads_back_to_a_room_above() {
    // A room stands above all that it imports: taking away rooms that import nothing left must take away all.
    let mut left = BTreeMap::from(HOUSE);
    loop {
        let is_left = |target: &&&str| left.contains_key(**target);
        let ground: Vec<&str> = left
            .iter()
            .filter(|(_, may)| may.iter().find(is_left).is_none())
            .map(|(room, _)| *room)
            .collect();
        if ground.is_empty() {
            break;
        }
        for room in ground {
            left.remove(room);
        }
    }
    assert!(
        left.is_empty(),
        "these rooms import each other in a ring: {left:?}"
    );
}

#[test]
fn every_arrow_and_room_of_the_plan_is_there() {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in sources() {
        let targets = arrows(&source.code, &source.room, source.depth);
        let targets = targets.into_iter().map(|(_, target)| target);
        used.entry(source.room).or_default().extend(targets);
    }
    for (room, may) in HOUSE.into_iter().filter(|(room, _)| *room != "tests") {
        let used = used.get(room);
        let used = used.unwrap_or_else(|| panic!("no room `{room}`: take it off the table"));
        for target in may {
            assert!(
                used.contains(*target),
                "`{room}` does not name `{target}`: take it off"
            );
        }
    }
}

#[test]
fn one_room_alone_speaks_to_the_database_the_broker_and_the_vault() {
    let mut wrong = Vec::new();
    let mut heard = BTreeSet::new();
    for source in sources() {
        for (what, rooms) in SPEAK {
            let found = words(&source.code).find(|(_, word)| *word == what);
            let Some((at, _)) = found else { continue };
            heard.insert(what);
            if !rooms.contains(&source.room.as_str()) {
                let line = source.line(at);
                wrong.push(format!(
                    "{}:{line}: only {rooms:?} may name `{what}`",
                    source.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (what, _) in SPEAK {
        assert!(
            heard.contains(what),
            "nobody names `{what}`: take it off the table"
        );
    }
}

#[test]
fn statements_of_sql_stand_in_the_store_alone() {
    let (mut wrong, mut ours) = (Vec::new(), 0);
    for source in sources() {
        for (at, said) in &source.strings {
            if !is_sql(said) {
                continue;
            }
            match source.room.as_str() {
                "store" => ours += 1,
                _ => wrong.push(format!("{}:{}: {said}", source.name, source.line(*at))),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(ours > 100, "only {ours} are found in the store");
}

#[test]
fn each_file_begins_with_the_question_it_answers() {
    let wrong: Vec<String> = sources()
        .into_iter()
        .filter(|source| !source.text.starts_with("//! ") && source.room != "tests")
        .map(|source| source.name)
        .collect();
    assert!(
        wrong.is_empty(),
        "these do not begin with `//!`: {wrong:#?}"
    );
}

/// In lower case, as all of ours is written: prose begins with a capital or names no table.
fn is_sql(text: &str) -> bool {
    let text = text.trim_start();
    STATEMENTS.iter().any(|with| text.starts_with(with))
        && (!text.starts_with("with ") || text.contains("select"))
        && (!text.starts_with("update ") || text.contains(" set "))
}

// ---- Which files ----

/// Every file of the crate but those that are tests alone.
fn sources() -> Vec<Source> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut sources) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                sources.push(read(&root, &path));
            }
        }
    }
    assert!(
        sources.len() > 90,
        "only {} files were found",
        sources.len()
    );
    sources
}

fn read(root: &Path, path: &Path) -> Source {
    let text = std::fs::read_to_string(path).expect("a source");
    let name = path.strip_prefix(root).expect("it lies below").display();
    let name = name.to_string();
    let first = name.split('/').next().unwrap_or_default();
    let is_test = name.ends_with("/tests.rs");
    let room = if is_test {
        "tests"
    } else {
        first.trim_end_matches(".rs")
    };
    let (code, strings) = parts(&text);
    let code = without_tests(code);
    // What lies in a blank is a test's.
    let strings = strings
        .into_iter()
        .filter(|(at, _)| code.as_bytes()[*at] == b'"');
    let depth = name.split('/').count() - usize::from(name.ends_with("/mod.rs"));
    Source {
        room: room.to_owned(),
        depth,
        strings: strings.collect(),
        code: if is_test { String::new() } else { code },
        text,
        name,
    }
}

// ---- Who is named in them ----

/// Every path into the crate by its first segment, and where it stands: by `crate`, from a program by the crate's name,
/// or up by as many `super` as there are modules.
fn arrows(code: &str, room: &str, depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, word) in words(code) {
        let path = match word {
            "crate" => code[at + word.len()..].strip_prefix("::"),
            "backends" if room == "bin" => code[at + word.len()..].strip_prefix("::"),
            "super" if !code[..at].ends_with("super::") => above(&code[at..], depth),
            _ => None,
        };
        let Some(path) = path.map(str::trim_start) else {
            continue;
        };
        let heads = match path.strip_prefix('{') {
            None => vec![path],
            Some(list) => items(list),
        };
        for head in heads {
            let head = words(head).next().map(|(_, word)| word);
            found.extend(head.map(|head| (at, head.to_owned())));
        }
    }
    found
}

/// What follows a row of `super` that leads to the crate's root.
fn above(mut path: &str, depth: usize) -> Option<&str> {
    let mut count = 0;
    while let Some(rest) = path.strip_prefix("super::") {
        (path, count) = (rest, count + 1);
    }
    (count >= depth).then_some(path)
}

// ---- Is the reader itself right? ----

#[test]
fn paths_and_strings_are_found_where_they_stand_and_nowhere_else() {
    let text = r##"
//! crate::no "select no"
use crate::a::b;
use crate::{c::d, e::{f, g}};
use super::no::k;
use super::super::{i::j, k};
const A: &str = "select 1 \" crate::no"; // "select no"
const B: &str = r#"insert into "x""#;
const C: (char, &'static str) = ('"', "delete from \
    x");
fn f<'a>(x: &'a crate::h::I) {}
#[cfg(test)]
mod tests { use crate::no; const D: &str = "select no"; }
const E: &str = "update the list";
"##;
    let (code, strings) = parts(text);
    let code = without_tests(code);
    let found: Vec<String> = arrows(&code, "x", 2)
        .into_iter()
        .map(|(_, to)| to)
        .collect();
    assert_eq!(found, ["a", "c", "e", "i", "k", "h"]);
    assert_eq!(code.matches('\n').count(), text.matches('\n').count());
    let said: Vec<&str> = strings
        .iter()
        .filter(|(at, _)| code.as_bytes()[*at] == b'"')
        .map(|(_, said)| said.as_str())
        .filter(|said| is_sql(said))
        .collect();
    assert_eq!(
        said,
        [
            "select 1 \\\" crate::no",
            "insert into \"x\"",
            "delete from x"
        ]
    );
}
