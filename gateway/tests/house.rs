//! Does the code keep to the plan of the house? Who may import whom, and a few rules that hold everywhere.
//!
//! Reads the sources as text: comments and strings are blanked out, items under `#[cfg(test)]` and the files that only
//! tests reach are left out. Does not: know types; what is re-exported counts where it is named.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use source::{items, parts, without_tests, words};

#[path = "../../tests/house/source.rs"]
mod source;

/// A room, and what it may import besides itself. `config::model` opens that part of `config` alone. A new arrow is a
/// change of the design: say in the commit why it is needed.
const HOUSE: [(&str, &[&str]); 33] = [
    // The ground floor: plain values, known to many, knowing nobody.
    ("config", &[]),
    ("observe", &[]),
    ("message", &[]),
    ("heap", &[]),
    ("io", &["heap"]),
    // Rooms that each know one thing, and nothing of each other.
    ("http1", &["message"]),
    ("route", &["config::model"]),
    ("pool", &["config::model", "io"]),
    ("limit", &["config::model"]),
    ("tls", &["config::model", "config::problem", "io"]),
    ("upstream", &["io"]),
    ("compress", &["config::model"]),
    ("files", &["config::model", "config::problem", "message"]),
    ("dependency", &["config::model", "io"]),
    // Its checks of dependencies speak HTTP/1 to a Vault.
    (
        "discover",
        &["config::model", "dependency", "http1", "io", "pool"],
    ),
    // What is running, and what one thread of it owns.
    (
        "plan",
        &[
            "compress",
            "config::model",
            "dependency",
            "limit",
            "observe",
            "pool",
            "route",
            "tls",
        ],
    ),
    (
        "shard",
        &[
            "config::model",
            "io",
            "limit",
            "observe",
            "plan",
            "pool",
            "upstream",
        ],
    ),
    // What happens to a request.
    (
        "exchange",
        &[
            "compress",
            "config::model",
            "files",
            "heap",
            "http1",
            "io",
            "limit",
            "message",
            "observe",
            "plan",
            "pool",
            "route",
            "shard",
            "tls",
            "upstream",
        ],
    ),
    // What `/metrics` tells: what was counted, and what the running plan keeps.
    (
        "scrape",
        &[
            "config::model",
            "dependency",
            "observe",
            "plan",
            "pool",
            "shard",
        ],
    ),
    // Where connections come in.
    (
        "listener",
        &[
            "config::model",
            "exchange",
            "heap",
            "http1",
            "io",
            "message",
            "observe",
            "plan",
            "pool",
            "shard",
            "tls",
        ],
    ),
    // What the machine allows, and the service manager.
    ("host", &["config::model"]),
    // What the process may still do.
    ("confine", &["config::model"]),
    // How it changes, and how it stops.
    (
        "reload",
        &[
            "config",
            "dependency",
            "discover",
            "files",
            "host",
            "io",
            "listener",
            "observe",
            "plan",
            "pool",
            "shard",
            "tls",
        ],
    ),
    // What operators ask and do.
    (
        "admin",
        &[
            // `explain` by what runs is one of its answers.
            "config",
            "dependency",
            "explain",
            "http1",
            "message",
            "observe",
            "plan",
            "pool",
            "reload",
            "scrape",
            "shard",
        ],
    ),
    (
        "renewal",
        &["config::model", "observe", "plan", "shard", "tls"],
    ),
    (
        "upgrade",
        &["config::model", "listener", "reload", "shard", "tls"],
    ),
    (
        "drain",
        &[
            "config::model",
            "host",
            "listener",
            "reload",
            "shard",
            "upgrade",
        ],
    ),
    // Why a request would go where it goes.
    (
        "explain",
        &[
            "config", "discover", "exchange", "http1", "message", "observe", "plan", "pool",
            "route", "tls",
        ],
    ),
    // Whether clients would trust a certificate.
    ("rehearsal", &["config", "tls"]),
    // The one place that ties them together.
    (
        "app",
        &[
            "admin",
            "config",
            "confine",
            "dependency",
            "discover",
            "drain",
            "exchange",
            "explain",
            "files",
            "host",
            "http1",
            "io",
            "listener",
            "message",
            "observe",
            "plan",
            "pool",
            "rehearsal",
            "reload",
            "renewal",
            "route",
            "scrape",
            "shard",
            "tls",
            "upgrade",
            "upstream",
        ],
    ),
    (
        "cli",
        &[
            "admin",
            "app",
            "config",
            "explain",
            "observe",
            "rehearsal",
            "reload",
        ],
    ),
    ("main", &["cli", "heap", "observe"]),
    ("lib", &[]),
];

/// The only modules that look at the wall clock, with those in them, and what for. It jumps when somebody sets it: nothing that has to last for
/// a time may go by it.
const LOOK_AT_THE_WALL_CLOCK: [(&str, &str); 7] = [
    (
        "observe::time",
        "the moments that logs, traces and the field Date tell",
    ),
    ("tls::time", "whether certificates are valid"),
    ("reload", "the same of those that a reload reads"),
    ("app", "the same of those that are checked and rehearsed"),
    ("explain", "the same of the one that is shown"),
    (
        "listener::accept",
        "the same of a client's, where its session is resumed",
    ),
    (
        "tls::tickets",
        "how old keys and sessions are, which another process goes on with; it says what a jump costs",
    ),
];

/// The only rooms that may know which framework the process stands on.
const KNOW_PINGORA: [&str; 3] = ["app", "drain", "upgrade"];

/// A source file of the gateway.
struct Source {
    /// From the package's directory, for messages.
    name: String,
    /// `config`, `model` for `config/model.rs`; empty for `lib.rs`, `main` for `main.rs`.
    module: Vec<String>,
    text: String,
    /// The text without comments, strings and test items; lines stay where they are.
    code: String,
}

impl Source {
    fn room(&self) -> &str {
        self.module.first().map_or("lib", String::as_str)
    }

    fn line(&self, at: usize) -> usize {
        self.code[..at].matches('\n').count() + 1
    }
}

// ---- Rules ----

#[test]
fn every_arrow_between_rooms_is_in_the_plan() {
    let house = BTreeMap::from(HOUSE);
    let mut wrong = String::new();
    for source in product() {
        let room = source.room();
        let Some(may) = house.get(room) else {
            let _ = writeln!(
                wrong,
                "{}: the room `{room}` is not in the table of gateway/tests/house.rs",
                source.name
            );
            continue;
        };
        for (at, target) in arrows(&source) {
            let own = target.first().is_some_and(|first| first == room);
            let target = target.join("::");
            let within = |allowed: &&&str| {
                target == **allowed || target.starts_with(&format!("{allowed}::"))
            };
            if !own && may.iter().find(within).is_none() {
                let _ = writeln!(
                    wrong,
                    "{}:{}: `{room}` names `{target}`, but may import {} only",
                    source.name,
                    source.line(at),
                    if may.is_empty() {
                        "itself".to_owned()
                    } else {
                        may.join(", ")
                    },
                );
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "arrows that the plan of the house does not have:\n{wrong}"
    );
}

#[test]
fn no_way_leads_back_to_a_room_above() {
    // A room stands above all that it imports: taking away rooms that import nothing left must take away all.
    let mut left = BTreeMap::from(HOUSE);
    loop {
        let is_left =
            |target: &&str| left.contains_key(target.split("::").next().unwrap_or(target));
        let ground: Vec<&str> = left
            .iter()
            .filter(|(_, may)| !may.iter().any(is_left))
            .map(|(room, _)| *room)
            .collect();
        if ground.is_empty() {
            break;
        }
        ground.iter().for_each(|room| {
            left.remove(room);
        });
    }
    assert!(
        left.is_empty(),
        "these rooms import each other in a ring: {:?}",
        left.keys()
    );
}

#[test]
fn every_room_of_the_plan_is_there() {
    let sources = product();
    for (room, _) in HOUSE {
        assert!(
            sources.iter().any(|source| source.room() == room),
            "there is no room `{room}`: take it off the table"
        );
    }
}

#[test]
fn only_the_frame_knows_pingora() {
    let mut wrong = String::new();
    for source in product()
        .iter()
        .filter(|source| !KNOW_PINGORA.contains(&source.room()))
    {
        for (at, _) in source.code.match_indices("pingora") {
            let _ = writeln!(
                wrong,
                "{}:{}: only {KNOW_PINGORA:?} may name pingora",
                source.name,
                source.line(at)
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn only_these_files_look_at_the_wall_clock() {
    const LOOKS: [&str; 3] = ["SystemTime::now", "UNIX_EPOCH.elapsed", "Utc::now"];
    let (mut wrong, mut used) = (String::new(), Vec::new());
    for source in product() {
        let Some(at) = LOOKS.iter().find_map(|look| source.code.find(look)) else {
            continue;
        };
        let module = source.module.join("::");
        let is_named =
            |(name, _): &&(&str, &str)| module == *name || module.starts_with(&format!("{name}::"));
        match LOOK_AT_THE_WALL_CLOCK.iter().find(is_named) {
            Some((name, _)) => used.push(*name),
            None => {
                let _ = writeln!(
                    wrong,
                    "{}:{}: a look at the wall clock, which may be set at any time: what passes is told by `Instant`; \
                     else say in the table of gateway/tests/house.rs why it must be the wall clock",
                    source.name,
                    source.line(at)
                );
            }
        }
    }
    for (name, _) in LOOK_AT_THE_WALL_CLOCK {
        if !used.contains(&name) {
            let _ = writeln!(
                wrong,
                "`{name}` does not look any more: take it off the table"
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// An allocator cannot be written without it. Nothing in there knows of anything that a peer sends.
const UNSAFE: &str = "gateway/src/heap/";

#[test]
fn no_code_is_unsafe_but_the_allocator() {
    let mut wrong = String::new();
    let others = |source: &Source| !source.name.starts_with(UNSAFE);
    for source in all().into_iter().filter(others) {
        for (at, word) in words(&source.code) {
            if word == "unsafe" {
                let _ = writeln!(wrong, "{}:{}: unsafe code", source.name, source.line(at));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn each_file_begins_with_the_question_it_answers() {
    let wrong: Vec<String> = product()
        .into_iter()
        .filter(|source| !source.text.starts_with("//! ") && !source.text.starts_with("//!\n"))
        .map(|source| source.name)
        .collect();
    assert!(
        wrong.is_empty(),
        "these files do not begin with `//!`: {wrong:#?}"
    );
}

// ---- Which files ----

fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path, module: Vec<String>) -> Source {
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let name = path.strip_prefix(package()).unwrap_or(path);
    Source {
        name: format!("gateway/{}", name.display()),
        module,
        code: without_tests(parts(&text).0),
        text,
    }
}

/// The files that the product is made of, found as the compiler finds them: from `lib.rs` and `main.rs` along `mod x;`.
fn product() -> Vec<Source> {
    let root = package().join("src");
    let mut left = vec![
        (root.join("lib.rs"), root.clone(), Vec::new()),
        (root.join("main.rs"), root.clone(), vec!["main".to_owned()]),
    ];
    let mut sources = Vec::new();
    while let Some((path, folder, module)) = left.pop() {
        let source = read(&path, module.clone());
        assert!(
            !source.code.contains("#[path"),
            "{}: a module elsewhere than its name says",
            source.name
        );
        for child in modules(&source.code) {
            let flat = folder.join(format!("{child}.rs"));
            let path = if flat.exists() {
                flat
            } else {
                folder.join(&child).join("mod.rs")
            };
            let mut module = module.clone();
            module.push(child.clone());
            left.push((path, folder.join(child), module));
        }
        sources.push(source);
    }
    assert!(
        sources.len() > 40,
        "only {} files were found",
        sources.len()
    );
    sources
}

/// Every file, tests too; their items under `#[cfg(test)]` are not left out.
fn all() -> Vec<Source> {
    let mut folders = vec![package().join("src"), package().join("tests")];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in
            std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let mut source = read(&path, Vec::new());
                source.code = parts(&source.text).0;
                sources.push(source);
            }
        }
    }
    sources
}

// ---- Who is named in them ----

/// The names in `mod x;`.
fn modules(code: &str) -> Vec<String> {
    let all: Vec<(usize, &str)> = words(code).collect();
    let ends = |(at, word): (usize, &str)| code[at + word.len()..].trim_start().starts_with(';');
    let pairs = all
        .windows(2)
        .filter(|pair| pair[0].1 == "mod" && ends(pair[1]));
    pairs.map(|pair| pair[1].1.to_owned()).collect()
}

/// Every path into the crate: where it stands and its first segments.
fn arrows(source: &Source) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for (at, word) in words(&source.code) {
        let rest = &source.code[at + word.len()..];
        let from_the_root = match word {
            "crate" => true,
            "gateway" => source.room() == "main",
            "super" => climbs_out(source, at, rest),
            _ => false,
        };
        if let Some(path) = rest.strip_prefix("::").filter(|_| from_the_root) {
            found.extend(
                paths(path.trim_start_matches("super::"))
                    .into_iter()
                    .map(|path| (at, path)),
            );
        }
    }
    found
}

/// Whether the first of a row of `super` leads to the crate's root. Modules within a file are not counted: there are
/// none but tests.
fn climbs_out(source: &Source, at: usize, rest: &str) -> bool {
    let first = !source.code[..at].ends_with("super::");
    let more = rest.strip_prefix("::").map_or(0, |path| {
        let mut path = path;
        let mut count = 0;
        while let Some(after) = path.strip_prefix("super::") {
            path = after;
            count += 1;
        }
        count
    });
    first && more + 1 >= source.module.len()
}

/// `a::b::C` and `{a::b, c::{d, e}}` as lists of segments.
fn paths(text: &str) -> Vec<Vec<String>> {
    let text = text.trim_start();
    if let Some(list) = text.strip_prefix('{') {
        return items(list).into_iter().flat_map(paths).collect();
    }
    let length = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    let first = text[..length].to_owned();
    let rest = text[length..].strip_prefix("::").unwrap_or_default();
    let deeper = if rest.is_empty() {
        Vec::new()
    } else {
        paths(rest)
    };
    let join = |tail: Vec<String>| [vec![first.clone()], tail].concat();
    match deeper.is_empty() {
        true => vec![join(Vec::new())],
        false => deeper.into_iter().map(join).collect(),
    }
}

// ---- Is the reader itself right? ----

#[test]
fn arrows_are_found_in_code_and_nowhere_else() {
    let text = r##"
//! crate::no
/// [`crate::no`]
use crate::a::b;
use crate::{c::d, e::{f, g::h}, i};
use super::j::k; /* crate::no */
const A: &str = "crate::no \" crate::no";
const B: &str = r#"crate::no " crate::no"#;
const C: (char, char, &'static str) = ('"', '\'', "crate::no");
fn f<'a>(x: &'a crate::l::M) { crate::n::o(super::super::p::q) }
#[cfg(test)]
mod tests { use crate::no; fn f() { crate::no::no() } }
#[cfg(test)]
use crate::no;
fn g() { crate::r::s() }
"##;
    let source = Source {
        name: "x".to_owned(),
        module: vec!["x".to_owned(), "y".to_owned()],
        text: text.to_owned(),
        code: without_tests(parts(text).0),
    };
    let found: Vec<String> = arrows(&source)
        .into_iter()
        .map(|(_, path)| path.join("::"))
        .collect();
    assert_eq!(
        found,
        [
            "a::b", "c::d", "e::f", "e::g::h", "i", "l::M", "n::o", "p::q", "r::s"
        ]
    );
    assert_eq!(
        source.code.matches('\n').count(),
        text.matches('\n').count()
    );
    assert_eq!(modules("pub mod a;\nmod b;\nmod c { }\nmodel;"), ["a", "b"]);
}
