//! What would another configuration change? `diff`, of the running gateway or of two files.
//!
//! Promises: exit codes as diff(1) has them: 0 nothing differs, 1 something does, 2 trouble; 3 where no gateway answers.

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use super::ask::{Ask, Failed, REFUSED, USAGE, refused};
use super::show::{list, text};
use crate::config::model::Config;
use crate::config::written::{Written, written};
use crate::config::{Source, parse, render};
use crate::reload::diff::{Diff, Side};
use crate::reload::same_places;

/// Against the running gateway.
pub fn running(ask: &Ask, file: &Path) -> Result<ExitCode, Failed> {
    let name = file.display().to_string();
    let bytes = std::fs::read(file)
        .map_err(|error| Failed::say(USAGE, format!("{name} cannot be read: {error}")))?;
    let path = format!("/v1/diff?name={}", super::show::escaped(&name));
    let answered = ask.gateway()?.post_text(&path, &bytes)?;
    if ask.json {
        say!("{}", answered.body);
    }
    match answered.status {
        200 => Ok(tell(&answered.body, ask.json)),
        // What cannot be compared is trouble, not a difference.
        _ if ask.json => Err(Failed::silent(USAGE)),
        _ => Err(refused(&answered).with(USAGE)),
    }
}

/// One file against another, without a gateway.
pub fn files(from: &Path, to: &Path, json: bool) -> Result<ExitCode, Failed> {
    let (before, after) = (read(from)?, read(to)?);
    let mut config = after.0;
    same_places(&mut config, &before.0);
    let diff = Diff::of(
        Side {
            config: &before.0,
            written: &before.1,
        },
        Side {
            config: &config,
            written: &after.1,
        },
    );
    let mut told = serde_json::to_value(&diff).unwrap_or_default();
    told["differs"] = (!diff.is_empty()).into();
    if json {
        say!("{told}");
    }
    Ok(tell(&told, json))
}

fn read(file: &Path) -> Result<(Config, Written), Failed> {
    let name = file.display().to_string();
    let bytes = std::fs::read(file)
        .map_err(|error| Failed::say(USAGE, format!("{name} cannot be read: {error}")))?;
    let env = |name: &str| std::env::var(name).ok();
    let source = Source::from_bytes(&name, bytes).map_err(|bad| {
        eprintln!("{}", render(&bad.0, &[bad.1], false));
        Failed::silent(USAGE)
    })?;
    let checked = parse(&source, &env);
    match checked.config {
        Some(config) => Ok((config, written(&source, &env))),
        None => {
            eprintln!("{}", render(&source, &checked.problems, false));
            Err(Failed::silent(USAGE))
        }
    }
}

fn tell(told: &Value, quiet: bool) -> ExitCode {
    if !quiet {
        say_text!("{}", lines(told));
    }
    if told["differs"] == Value::Bool(true) {
        ExitCode::from(REFUSED)
    } else {
        ExitCode::SUCCESS
    }
}

/// A difference for people.
fn lines(told: &Value) -> String {
    let mut out = String::new();
    for (of, word) in [
        ("listeners", "listener"),
        ("pools", "pool"),
        ("routes", "route"),
        ("certificates", "certificate"),
    ] {
        for change in list(&told[of]) {
            out.push_str(&change_line(word, change));
        }
    }
    for key in list(&told["keys"]) {
        out.push_str(&format!("~ {}\n", key_line(key)));
    }
    for key in list(&told["restart"]) {
        out.push_str(&format!(
            "! {} is read at start only: restart to change it\n",
            text(key)
        ));
    }
    for problem in list(&told["problems"]) {
        let (line, what) = (text(&problem["line"]), text(&problem["what"]));
        out.push_str(&format!("! warning: line {line}: {what}\n"));
    }
    out
}

fn change_line(word: &str, change: &Value) -> String {
    let sign = match change["what"].as_str() {
        Some("added") => '+',
        Some("removed") => '-',
        _ => '~',
    };
    let mut line = format!("{sign} {word} {}", text(&change["name"]));
    let addresses = |name: &str| {
        let all: Vec<_> = list(&change[name]).iter().map(text).collect();
        all.join(" ")
    };
    for (name, verb) in [("opens", "opens"), ("closes", "closes")] {
        let all = addresses(name);
        if !all.is_empty() {
            line.push_str(&format!(", {verb} {all}"));
        }
    }
    if sign != '+' {
        for (name, one) in [
            ("connections", "open connections"),
            ("requests", "requests in flight"),
            ("streams", "open streams"),
        ] {
            if let Some(count) = change[name].as_u64().filter(|count| *count > 0) {
                line.push_str(&format!(", {count} {one}"));
            }
        }
    }
    line.push('\n');
    for key in list(&change["keys"]) {
        line.push_str(&format!("    {}\n", key_line(key)));
    }
    line
}

fn key_line(key: &Value) -> String {
    let side = |name: &str| match &key[name] {
        Value::Null => "not written".to_owned(),
        value => text(value),
    };
    format!(
        "{}: {} -> {}",
        text(&key["key"]),
        side("before"),
        side("after")
    )
}
