//! What is wrong, where, and how is it mended?
//!
//! A [`Problem`] is plain data that any room may make; [`render`] turns problems into the text an
//! operator reads: `file:line:column`, the line, a caret, the reason and the fix. Nothing here
//! decides whether something is wrong.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::model::Place;

/// How bad a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, but is probably not what was meant.
    Warning,
}

/// One mistake or doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Error or warning.
    pub severity: Severity,
    /// Where it stands in the file; line 0 when it stands nowhere (a default).
    pub place: Place,
    /// The reason: lower case, no full stop, names the thing.
    pub what: String,
    /// The fix.
    pub hint: Option<String>,
}

impl Problem {
    /// An error without a fix.
    pub fn error(place: Place, what: impl Into<String>) -> Problem {
        Problem {
            severity: Severity::Error,
            place,
            what: what.into(),
            hint: None,
        }
    }

    /// A warning without a fix.
    pub fn warning(place: Place, what: impl Into<String>) -> Problem {
        Problem {
            severity: Severity::Warning,
            place,
            what: what.into(),
            hint: None,
        }
    }

    /// The same with a fix.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }
}

/// A text with its name, as it is shown in front of a line number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What the text is called, usually the path of the file.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl Source {
    /// Takes the bytes of a file. Bytes that are not UTF-8 give the problem and a readable copy of
    /// the text to show it in.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Source, Box<(Source, Problem)>> {
        let name = name.to_owned();
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Source { name, text }),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let place = place_of(&text, good..good + '\u{fffd}'.len_utf8());
                let problem = Problem::error(place, "this byte is not UTF-8")
                    .hint("save the file as UTF-8; plain ASCII is enough for every key");
                Err(Box::new((Source { name, text }, problem)))
            }
        }
    }
}

/// The place of a span of bytes; a span over several lines is cut at the end of its first.
pub(super) fn place_of(text: &str, span: Range<usize>) -> Place {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let end = text.floor_char_boundary(span.end.clamp(start, text.len()));
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[start..end]
        .find('\n')
        .map_or(end, |newline| start + newline);
    Place {
        line: count(text[..start].bytes().filter(|&b| b == b'\n').count() + 1),
        column: count(text[line_start..start].chars().count() + 1),
        length: count(text[start..line_end].chars().count()),
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Words of a stranger inside a message: quoted, without control characters, cut when long.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    let mut shown = String::new();
    for c in text.chars().take(SHOWN_MAX) {
        if c.is_control() {
            shown.extend(c.escape_debug())
        } else {
            shown.push(c)
        }
    }
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// The problems as an operator reads them, in the order given.
pub fn render(source: &Source, problems: &[Problem], color: bool) -> String {
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let lines: Vec<&str> = source.text.split('\n').collect();
    let mut out = String::new();
    for problem in problems {
        out.push_str(&render_one(&renderer, source, &lines, problem));
        out.push_str("\n\n");
    }
    out
}

fn render_one(renderer: &Renderer, source: &Source, lines: &[&str], problem: &Problem) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(problem.what.as_str()));
    if let Some(line) = (problem.place.line as usize)
        .checked_sub(1)
        .and_then(|at| lines.get(at))
    {
        let line = line.strip_suffix('\r').unwrap_or(line);
        group = group.element(
            Snippet::source(line)
                .line_start(problem.place.line as usize)
                .path(source.name.as_str())
                .annotation(AnnotationKind::Primary.span(bytes_of(line, problem.place))),
        );
    }
    if let Some(hint) = &problem.hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    renderer.render(&[group])
}

/// The bytes of `line` that `place` means; at least one column wide where the line has one.
fn bytes_of(line: &str, place: Place) -> Range<usize> {
    let byte = |chars: usize| {
        line.char_indices()
            .nth(chars)
            .map_or(line.len(), |(at, _)| at)
    };
    let first = (place.column as usize).saturating_sub(1);
    byte(first)..byte(first.saturating_add((place.length as usize).max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source {
            name: "routes.yaml".to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn a_problem_is_shown_with_place_line_caret_reason_and_fix() {
        let source = source("pools:\n  api: { ports: 9090-9080 }\n");
        let problem = Problem::error(
            Place {
                line: 2,
                column: 17,
                length: 9,
            },
            "the range wraps",
        )
        .hint("write 9080-9090");
        let shown = render(&source, &[problem], false);
        assert_eq!(
            shown,
            "error: the range wraps\n --> routes.yaml:2:17\n  |\n2 |   api: { ports: 9090-9080 }\n  |                 ^^^^^^^^^\n  |\n  = help: write 9080-9090\n\n"
        );
    }

    #[test]
    fn places_outside_the_text_do_no_harm() {
        for place in [
            Place::default(),
            Place {
                line: 1,
                column: 0,
                length: 0,
            },
            Place {
                line: 1,
                column: 99,
                length: 99,
            },
            Place {
                line: 9,
                column: 1,
                length: 1,
            },
            Place {
                line: u32::MAX,
                column: u32::MAX,
                length: u32::MAX,
            },
        ] {
            for text in ["", "a", "ä\r\nb", "\t\u{1b}[31m"] {
                let shown = render(&source(text), &[Problem::warning(place, "odd")], false);
                assert!(shown.starts_with("warning: odd"), "{shown}");
                assert!(!shown.contains('\u{1b}'), "{shown:?}");
            }
        }
    }

    #[test]
    fn columns_count_characters_not_bytes() {
        assert_eq!(
            place_of("a: é\nb: ééé\n", 9..13),
            Place {
                line: 2,
                column: 4,
                length: 2
            }
        );
        assert_eq!(
            place_of("ab\ncd", 1..5),
            Place {
                line: 1,
                column: 2,
                length: 1
            }
        );
        assert_eq!(
            place_of("", 7..9),
            Place {
                line: 1,
                column: 1,
                length: 0
            }
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_are_told_with_their_place() {
        let Err(told) = Source::from_bytes("x", b"a: b\nc: \xff\n".to_vec()) else {
            panic!("accepted")
        };
        assert_eq!(
            told.1.place,
            Place {
                line: 2,
                column: 4,
                length: 1
            }
        );
    }

    #[test]
    fn words_of_strangers_cannot_disturb_a_terminal() {
        assert_eq!(quoted("a\u{1b}[1m\"b"), "`a\\u{1b}[1m\"b`");
        assert_eq!(quoted(&"x".repeat(100)).chars().count(), 63);
    }
}
