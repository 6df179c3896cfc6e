use super::*;
use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn names_are_plain_unique_and_end_in_their_unit() {
    let mut seen = HashSet::new();
    for (_, family) in ALL {
        let Family {
            name,
            kind,
            labels,
            help,
        } = family;
        assert!(seen.insert(name), "{name} is there twice");
        assert!(
            name.starts_with("portcullis_") || name.starts_with("process_"),
            "{name}"
        );
        let plain = |text: &str| text.bytes().all(|c| c.is_ascii_lowercase() || c == b'_');
        assert!(
            plain(name) && labels.iter().all(|label| plain(label)),
            "{name}"
        );
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert_eq!(
            *kind == Kind::Histogram,
            name.ends_with("_duration_seconds"),
            "{name}"
        );
        assert!(
            help.ends_with('.') && !help.contains(['\\', '\n', '|']),
            "{name}"
        );
    }
}

/// Every file of the gateway but the table.
fn sources() -> String {
    let mut folders = vec![root().join("gateway/src")];
    let mut sources = String::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("observe/names.rs") {
                sources += &read(&path);
            }
        }
    }
    sources
}

#[test]
fn whatever_is_in_the_table_is_told() {
    let sources = sources();
    let untold: Vec<_> = ALL
        .iter()
        // Those of the process are the work of the library's collector.
        .filter(|(id, family)| {
            !family.name.starts_with("process_") && !sources.contains(&format!("names::{id}"))
        })
        .map(|(_, family)| family.name)
        .collect();
    assert!(untold.is_empty(), "nobody tells {untold:?}");
}

#[test]
fn the_figures_of_the_process_are_in_the_table_and_only_those() {
    let metrics = crate::observe::metrics::Metrics::new().unwrap();
    let mut text = Vec::new();
    metrics.text(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    let told: HashSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE process_"))
        .filter_map(|line| line.split(' ').next())
        .collect();
    let table: HashSet<&str> = ALL
        .iter()
        .filter_map(|(_, family)| family.name.strip_prefix("process_"))
        .collect();
    assert_eq!(told, table);
}

const BEGIN: &str = "<!-- made from gateway/src/observe/names.rs -->\n";
const END: &str = "<!-- end -->\n";

fn table() -> String {
    let chapter = |name: &str| {
        let begins = |with: &[&str]| with.iter().any(|with| name.starts_with(with));
        if begins(&["process_"]) {
            "The process"
        } else if begins(&["portcullis_pool_", "portcullis_worker_"]) {
            "Pools and workers"
        } else if begins(&["portcullis_connection", "portcullis_tls_"]) {
            "Connections"
        } else if begins(&[
            "portcullis_request",
            "portcullis_rate",
            "portcullis_body",
            "portcullis_grpc",
            "portcullis_exchanges",
            "portcullis_streams",
            "portcullis_tunnels",
        ]) {
            "Requests"
        } else {
            "The gateway"
        }
    };
    let mut out = String::new();
    let mut before = "";
    for (_, family) in ALL {
        let chapter = chapter(family.name);
        if chapter != before {
            before = chapter;
            let _ = write!(
                out,
                "\n### {chapter}\n\n| Name | Type | Labels | Meaning |\n|---|---|---|---|\n"
            );
        }
        let labels: Vec<String> = family
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} |",
            family.name,
            format!("{:?}", family.kind).to_lowercase(),
            labels.join(", "),
            family.help
        );
    }
    out
}

/// `UPDATE_DOCS=1 cargo test -p gateway names` writes the table anew.
#[test]
fn the_documentation_tells_of_every_metric() {
    let path = root().join("docs/metrics.md");
    let page = read(&path);
    let (head, rest) = page.split_once(BEGIN).expect("the mark before the table");
    let (_, tail) = rest.split_once(END).expect("the mark behind the table");
    let wanted = format!("{head}{BEGIN}{}\n{END}{tail}", table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    } else {
        assert!(
            page == wanted,
            "docs/metrics.md is out of date: UPDATE_DOCS=1 cargo test -p gateway names"
        );
    }
}
