//! What does an editor have to know? The table as a JSON Schema (draft 2020-12).
//!
//! Values may come from the environment, so every scalar may also be a text with `${NAME}` in it. Editors use the schema
//! for completion and first doubts; what is right is decided by `check`.

use serde_json::{Map, Value, json};

use super::{Form, Section, below, section_at};

const DURATION: &str = r"^[0-9][0-9_]*\s*(ms|s|m|h|d)$|^0$";
const SIZE: &str = r"^[0-9][0-9_]*\s*(B|KiB|MiB|GiB)?$";
const NUMBER: &str = r"^[0-9][0-9_]*$";
const PERCENT: &str = r"^[0-9]+\s*%?$";
const RATE: &str = r"^[0-9][0-9_]*\s*/\s*(s|m|h)$";
const VARIABLE: &str = r"\$\{";

/// The schema of a configuration file.
pub fn schema() -> Value {
    let mut schema = section_at("").map_or_else(Map::new, |top| section(top, ""));
    schema.insert(
        "$schema".to_owned(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    schema.insert("title".to_owned(), json!("Portcullis routes.yaml"));
    schema.insert(
        "required".to_owned(),
        json!(["listeners", "pools", "routes"]),
    );
    Value::Object(schema)
}

fn section(section: &Section, path: &str) -> Map<String, Value> {
    let mut properties = Map::new();
    for key in section.keys {
        let mut value = value(key.forms, &below(path, key.name));
        if let Some(fields) = value.as_object_mut() {
            let mut told = key.what.to_owned();
            if !key.default.is_empty() {
                told.push_str(&format!(" Default: {}.", key.default));
            }
            fields.insert("description".to_owned(), json!(told));
        }
        properties.insert(key.name.to_owned(), value);
    }
    let mut map = Map::new();
    map.insert("type".to_owned(), json!("object"));
    map.insert("description".to_owned(), json!(section.what));
    map.insert("properties".to_owned(), Value::Object(properties));
    map.insert("additionalProperties".to_owned(), json!(false));
    map
}

fn value(forms: &[Form], path: &str) -> Value {
    let mut any: Vec<Value> = forms.iter().flat_map(|form| one(form, path)).collect();
    if any.len() == 1 {
        return any.remove(0);
    }
    json!({ "anyOf": any })
}

fn one(form: &Form, path: &str) -> Vec<Value> {
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let or_variable = |pattern: &str| text(&format!("{pattern}|{VARIABLE}"));
    match form {
        // `off`, `on`, `true` and numbers such as 1.2 are no strings for every reader of YAML.
        Form::Words(words) => {
            let mut all: Vec<Value> = words.iter().map(|word| json!(word)).collect();
            for word in *words {
                match *word {
                    "on" | "true" => all.push(json!(true)),
                    "off" | "false" => all.push(json!(false)),
                    _ => all.extend(word.parse::<f64>().ok().map(|number| json!(number))),
                }
            }
            vec![json!({ "enum": all }), text(VARIABLE)]
        }
        Form::Duration => vec![or_variable(DURATION), json!({ "const": 0 })],
        Form::Size => vec![
            or_variable(SIZE),
            json!({ "type": "integer", "minimum": 0 }),
        ],
        Form::Number(least, most) => vec![
            json!({ "type": "integer", "minimum": least, "maximum": most }),
            or_variable(NUMBER),
        ],
        Form::Percent(most) => vec![
            or_variable(PERCENT),
            json!({ "type": "integer", "minimum": 0, "maximum": most }),
        ],
        Form::Rate => vec![or_variable(RATE)],
        Form::Flag => vec![json!({ "type": "boolean" }), text(VARIABLE)],
        Form::Text(example) => {
            vec![json!({ "type": ["string", "number", "boolean"], "examples": [example] })]
        }
        Form::List(items) => {
            let path = format!("{path}[]");
            let mut any: Vec<Value> = items.iter().flat_map(|form| one(form, &path)).collect();
            any.push(json!({ "type": "array", "items": value(items, &path) }));
            any
        }
        Form::Named(values) => {
            let path = below(path, "NAME");
            vec![json!({ "type": "object", "additionalProperties": value(values, &path) })]
        }
        Form::Keys => section_at(path)
            .map(|found| Value::Object(section(found, path)))
            .into_iter()
            .collect(),
    }
}
