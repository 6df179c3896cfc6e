//! What is a script? A title and a text whose first line names the interpreter.

use super::named::titled;
use super::refusal::{Answer, Refusal};
use crate::domain::order::{NoScript, TIME_LIMIT_MAX, shebang};
use crate::store::script::{New, Script};

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

    /// A script of this text that is to be kept, run by this user, for at most so many seconds.
    pub fn to_keep<'a>(
        &'a self,
        username: &'a str,
        time_limit: i32,
        access_group: &'a str,
    ) -> New<'a> {
        New {
            title: &self.title,
            interpreter: &self.interpreter,
            code: &self.code,
            username,
            time_limit,
            access_group,
        }
    }
}

/// Who runs a script, if nobody else is named.
pub const USERNAME: &str = "root";
/// Seconds that a script may take, if nothing else is asked for.
pub const TIME_LIMIT: i32 = 300;

/// Seconds that a script may take; without any, so many.
///
/// # Errors
///
/// It is no number, or out of its range.
pub fn time_limit(told: Option<i64>, default: i32) -> Answer<i32> {
    let limit = told.map_or(Some(default), |limit| i32::try_from(limit).ok());
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
