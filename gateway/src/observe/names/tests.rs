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
            } else if !path.ends_with("observe/names.rs")
                && !path.ends_with("observe/names/haproxy.rs")
            {
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
        .chain(haproxy::ALL)
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
        if begins(&["haproxy_"]) {
            "HAProxy's names, with `metrics: { haproxy_names: true }`"
        } else if begins(&["process_"]) {
            "The process"
        } else if begins(&["portcullis_pool_", "portcullis_worker_"]) {
            "Pools and workers"
        } else if begins(&["portcullis_dependency_"]) {
            "Dependencies"
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
            "portcullis_compressions",
            "portcullis_mirror",
            "portcullis_buffers",
        ]) {
            "Requests"
        } else {
            "The gateway"
        }
    };
    // Every chapter once, in the order in which they begin.
    let mut chapters: Vec<(&str, String)> = Vec::new();
    for (_, family) in ALL.iter().chain(haproxy::ALL) {
        let chapter = chapter(family.name);
        let known = chapters.iter().position(|(name, _)| *name == chapter);
        let at = known.unwrap_or_else(|| {
            chapters.push((chapter, String::new()));
            chapters.len() - 1
        });
        let out = &mut chapters[at].1;
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
    let head = "| Name | Type | Labels | Meaning |\n|---|---|---|---|\n";
    chapters
        .iter()
        .map(|(name, rows)| format!("\n### {name}\n\n{head}{rows}"))
        .collect()
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

/// Names of ours in a text, without the endings of histograms.
fn names_in(text: &str) -> HashSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| word.starts_with("portcullis_") || word.starts_with("process_"))
        .map(|word| {
            let is_known = ALL.iter().any(|(_, family)| family.name == word);
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|ending| word.strip_suffix(ending));
            match base {
                Some(base) if !is_known => base.to_owned(),
                _ => word.to_owned(),
            }
        })
        .collect()
}

fn are_known(names: &HashSet<String>, whose: &str) {
    for name in names {
        assert!(
            ALL.iter().any(|(_, family)| family.name == name),
            "{whose} asks for `{name}`, which there is not"
        );
    }
}

#[test]
fn the_dashboard_asks_for_what_there_is() {
    let text = read(&root().join("deploy/grafana/portcullis.json"));
    let board: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let exprs: Vec<&str> = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten()
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(exprs.len() > 40, "{}", exprs.len());
    // What an operator looks for first, of each kind of thing that can be down.
    for name in [
        "portcullis_pool_workers_live",
        "portcullis_dependency_up",
        "portcullis_certificate_expiry_timestamp_seconds",
    ] {
        let shown = exprs.iter().any(|expr| names_in(expr).contains(name));
        assert!(shown, "no panel shows {name}");
    }
    let mut ids: Vec<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(
        ids.len(),
        panels.len(),
        "each panel has a number of its own"
    );
    for expr in exprs {
        let names = names_in(expr);
        assert!(!names.is_empty(), "{expr}");
        are_known(&names, expr);
        let balanced = |open, close| expr.matches(open).count() == expr.matches(close).count();
        assert!(
            balanced('(', ')') && balanced('{', '}') && balanced('[', ']'),
            "{expr}"
        );
    }
    for variable in board["templating"]["list"].as_array().unwrap() {
        are_known(&names_in(&variable["query"].to_string()), "a variable");
    }
}

#[test]
fn the_alerts_ask_for_what_there_is() {
    let text = read(&root().join("deploy/prometheus/alerts.yaml"));
    let rules: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
    let mut alerts = HashSet::new();
    for group in rules["groups"].as_array().unwrap() {
        for rule in group["rules"].as_array().unwrap() {
            let name = rule["alert"].as_str().unwrap();
            assert!(alerts.insert(name), "{name} is there twice");
            let expr = rule["expr"].as_str().unwrap();
            let names = names_in(expr);
            assert!(!names.is_empty(), "{name}: {expr}");
            are_known(&names, name);
            for note in ["summary", "description"] {
                assert!(rule["annotations"][note].is_string(), "{name}: {note}");
            }
            assert!(rule["labels"]["severity"].is_string(), "{name}");
        }
    }
    assert!(alerts.len() > 10, "{alerts:?}");
}

#[test]
fn the_queries_of_the_documentation_ask_for_what_there_is() {
    let page = read(&root().join("docs/metrics.md"));
    let (head, _) = page.split_once(BEGIN).unwrap();
    are_known(&names_in(head), "docs/metrics.md");
}
