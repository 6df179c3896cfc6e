//! Is the reference true? It is held against what the readers ask for, against the page and against the files we ship.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::read::Reader;
use crate::config::{Source, parse_with, render};

const EVERY_KEY: &str = "examples/every-key.yaml";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn text(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// `listeners.https.tls.certificates[2]` as the table has it.
fn as_in_table(path: &str, named: &[String]) -> String {
    let mut out = String::new();
    // The path as it was, to find maps whose keys are the operator's.
    let mut walked = String::new();
    for part in path.split('.').filter(|part| !part.is_empty()) {
        let (name, items) = part.split_at(part.find('[').unwrap_or(part.len()));
        let name_is_theirs = named.contains(&walked);
        walked = below(&walked, part);
        out = below(&out, if name_is_theirs { "NAME" } else { name });
        out.push_str(&"[]".repeat(items.matches('[').count()));
    }
    out
}

#[test]
fn every_key_that_is_read_stands_in_the_reference_and_the_other_way_round() {
    let source = Source {
        name: EVERY_KEY.into(),
        text: text(EVERY_KEY),
    };
    let (checked, reader) = parse_with(&source, &|_| None, Reader::default());
    assert!(
        checked.config.is_some(),
        "{}",
        render(&source, &checked.problems, false)
    );
    let read: BTreeSet<String> = reader
        .asked
        .iter()
        .flat_map(|(path, names)| {
            let path = as_in_table(path, &reader.named);
            names.iter().map(move |name| below(&path, name))
        })
        .collect();
    let told: BTreeSet<String> = sections()
        .flat_map(|section| section.at.iter().map(move |at| (section, at)))
        .flat_map(|(section, at)| section.keys.iter().map(move |key| below(at, key.name)))
        .collect();
    let untold: Vec<_> = read.difference(&told).collect();
    assert!(
        untold.is_empty(),
        "add these to gateway/src/config/reference: {untold:#?}"
    );
    let unread: Vec<_> = told.difference(&read).collect();
    assert!(
        unread.is_empty(),
        "use these in {EVERY_KEY}, or take them out of the reference: {unread:#?}"
    );
}

#[test]
fn a_key_that_has_keys_of_its_own_has_a_section_for_them() {
    let mut at: BTreeSet<&str> = BTreeSet::from([""]);
    let mut wanted = BTreeSet::new();
    for section in sections() {
        for place in section.at {
            at.insert(place);
            for key in section.keys {
                places(key.forms, &below(place, key.name), &mut wanted);
            }
        }
    }
    wanted.insert(String::new());
    assert_eq!(at, wanted.iter().map(String::as_str).collect());
}

/// Where the maps stand that these forms speak of.
fn places(forms: &[Form], path: &str, found: &mut BTreeSet<String>) {
    for form in forms {
        match form {
            Form::Keys => {
                found.insert(path.to_owned());
            }
            Form::List(items) => places(items, &format!("{path}[]"), found),
            Form::Named(values) => places(values, &below(path, "NAME"), found),
            _ => {}
        }
    }
}

/// `UPDATE_DOCS=1 cargo test -p gateway reference` writes the page anew.
#[test]
fn the_page_is_made_from_the_table() {
    let name = "docs/configuration.md";
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(root().join(name), page()).unwrap();
    }
    assert!(
        text(name) == page(),
        "{name} is out of date: UPDATE_DOCS=1 cargo test -p gateway reference"
    );
}

#[test]
fn every_key_stands_in_the_comments_of_routes_yaml() {
    let comments: String = text("routes.yaml")
        .lines()
        .filter(|line| line.starts_with('#'))
        .collect::<Vec<_>>()
        .join("\n");
    let missing: Vec<_> = sections()
        .flat_map(|section| section.keys)
        .filter(|key| {
            !comments
                .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
                .any(|word| word == key.name)
        })
        .map(|key| key.name)
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn as_json(text: &str) -> serde_json::Value {
    serde_saphyr::from_str(text).expect("YAML")
}

#[test]
fn the_schema_takes_what_we_ship() {
    let schema = jsonschema::validator_for(&schema()).expect("a JSON Schema");
    for name in ["routes.yaml", "examples/landscape-charm.yaml", EVERY_KEY] {
        let file = as_json(&text(name));
        let told: Vec<String> = schema
            .iter_errors(&file)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(told.is_empty(), "{name}: {told:#?}");
    }
}

#[test]
fn the_schema_knows_slips() {
    let schema = jsonschema::validator_for(&schema()).expect("a JSON Schema");
    let with = |pool: &str| {
        as_json(&format!(
            "listeners: {{ http: {{ bind: ':80' }} }}\npools: {{ a: {pool} }}\nroutes: [{{ path: /, to: a }}]"
        ))
    };
    assert!(schema.is_valid(&with("{ ports: 8080-8089, hold: 30s }")));
    assert!(schema.is_valid(&with("{ ports: '${PORTS}', hold: '${HOLD:-30s}' }")));
    for slip in [
        "{ ports: 8080, holdd: 30s }",
        "{ ports: 8080, hold: 30 }",
        "{ ports: 8080, hold: { tme: 30s } }",
        "{ ports: 8080, protocol: http3 }",
        "{ ports: 8080, head_bytes_max: 3MB }",
        "{ ports: 8080, health: { rise: 0 } }",
    ] {
        assert!(!schema.is_valid(&with(slip)), "{slip}");
    }
    assert!(!schema.is_valid(&as_json("listeners: {}")));
}
