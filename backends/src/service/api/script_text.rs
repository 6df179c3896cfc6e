//! What is a script? A title and a text whose first line names the interpreter.

use super::refusal::{Answer, Refusal};
use crate::domain::order::{NoScript, TIME_LIMIT_MAX, shebang};
use crate::store::script::Script;

/// Longest title, characters.
const TITLE_CHARS_MAX: usize = 255;

/// A script as it was written.
pub struct Text {
    /// For people.
    pub title: String,
    /// An absolute path.
    pub interpreter: String,
    /// What it reads.
    pub code: String,
}

impl Text {
    /// Reads a title and a text.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub fn read(title: &str, text: &str) -> Answer<Self> {
        let (interpreter, code) = shebang(text).map_err(|no| match no {
            NoScript::EmptyCode => Refusal::argument("EmptyScriptCode", "the script has no code"),
            NoScript::EmptyInterpreter => {
                let message = "the first line is not `#!` and the path of an interpreter";
                Refusal::argument("EmptyScriptInterpreter", message)
            }
            NoScript::TooLong => Refusal::argument("ScriptTooLong", "the script is too long"),
        })?;
        Ok(Self {
            title: titled(title)?,
            interpreter,
            code,
        })
    }

    /// The text of a script that is kept, under this title.
    ///
    /// # Errors
    ///
    /// The title is none.
    pub fn kept(title: &str, script: &Script) -> Answer<Self> {
        Ok(Self {
            title: titled(title)?,
            interpreter: script.interpreter.clone(),
            code: script.code.clone(),
        })
    }
}

/// A title of a script or a computer.
///
/// # Errors
///
/// It is empty or too long.
pub fn titled(title: &str) -> Answer<String> {
    let title = title.trim();
    match title.chars().count() {
        1..=TITLE_CHARS_MAX => Ok(title.to_owned()),
        _ => {
            let message = format!("a title has 1 to {TITLE_CHARS_MAX} characters");
            Err(Refusal::argument("InvalidTitle", message))
        }
    }
}

/// Seconds that a script may take.
///
/// # Errors
///
/// It is no number, or out of its range.
pub fn time_limit(told: Option<i64>) -> Answer<i32> {
    let limit = told.and_then(|limit| i32::try_from(limit).ok());
    let limit = limit.filter(|limit| (1..=TIME_LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| {
        let message = format!("`time_limit` is a number of seconds from 1 to {TIME_LIMIT_MAX}");
        Refusal::argument("InvalidParameter", message)
    })
}

/// There is a script of this title.
pub fn taken(title: &str) -> Refusal {
    let message = format!("there is a script `{title}` already");
    Refusal::argument("DuplicateScript", message)
}
