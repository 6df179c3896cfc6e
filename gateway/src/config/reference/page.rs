//! What does the reference say? The table as a page of Markdown, `docs/configuration.md`.

use std::fmt::Write;

use super::{Form, Section, sections};

const HEAD: &str = "# Configuration: every key

Made from the table that the gateway itself has (`gateway/src/config/reference`); a test keeps the two alike.

Durations are `500ms`, `30s`, `5m`, `2h`, `1d`; sizes are bytes, `32KiB`, `4MiB`, `1GiB`; rates are `100/s`, `600/m`,
`1000/h`. A list of one may be written without its brackets. `${NAME}` and `${NAME:-default}` are taken from the environment;
`$${` stands for the characters `${`. `portcullis check` tells every mistake at once, and `portcullis check --schema` prints a
JSON Schema for editors, such as

    # yaml-language-server: $schema=routes.schema.json

as the first line of the file after `portcullis check --schema > routes.schema.json`.
";

/// The page.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for section in sections() {
        part(&mut page, section);
    }
    page
}

fn part(page: &mut String, section: &Section) {
    let at: Vec<String> = section
        .at
        .iter()
        .filter(|at| !at.is_empty())
        .map(|at| format!("`{at}`"))
        .collect();
    let _ = write!(page, "\n## {}\n\n", section.title);
    if !at.is_empty() {
        let _ = write!(page, "At {}. ", at.join(", "));
    }
    let _ = write!(page, "{}\n\n", section.what);
    let _ = writeln!(
        page,
        "| Key | Value | Default | Meaning |\n|---|---|---|---|"
    );
    for key in section.keys {
        let forms: Vec<String> = key.forms.iter().map(form).collect();
        let default = match key.default {
            "" => String::new(),
            text if text.contains('`') || text.contains(' ') && !text.starts_with(['{', '[']) => {
                text.to_owned()
            }
            text => format!("`{text}`"),
        };
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} |",
            key.name,
            cell(&forms.join(" or ")),
            cell(&default),
            cell(key.what)
        );
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

fn form(form: &Form) -> String {
    match form {
        Form::Words(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            words.join(", ")
        }
        Form::Duration => "duration".to_owned(),
        Form::Size => "size".to_owned(),
        Form::Number(least, most) => format!("{least} to {most}"),
        Form::Percent(most) => format!("0% to {most}%"),
        Form::Rate => "rate".to_owned(),
        Form::Flag => "`true`, `false`".to_owned(),
        Form::Text(example) => format!("such as `{example}`"),
        Form::List(items) => {
            let items: Vec<String> = items.iter().map(self::form).collect();
            format!("list: {}", items.join(" or "))
        }
        Form::Keys => "keys".to_owned(),
        Form::Named(values) => {
            let values: Vec<String> = values.iter().map(self::form).collect();
            format!("map by name: {}", values.join(" or "))
        }
    }
}
