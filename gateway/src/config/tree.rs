//! What does the text say, and where?
//!
//! Reads YAML into a tree of scalars, lists and maps that keeps the place of everything, so that
//! `check` can tell every mistake in one go. It is built on the event stream below serde: serde's
//! data model would already have turned `off` into false and `8070` into a number, and it stops at
//! the first mistake. Scalars stay text here; their meaning is `read`'s business.
//!
//! Bounds: size, depth and number of values. Aliases are copied and count; tags, merge keys,
//! several documents and keys that are not text are refused.

use std::collections::HashMap;
use std::ops::Range;

use serde_saphyr::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, options};

use super::model::Place;
use super::problem::{Problem, Source, quoted};

/// Largest text that is read, bytes. Whoever reads a file need read no more than one byte beyond.
pub const TEXT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Deepest nesting of lists and maps.
const DEPTH_MAX: usize = 64;
/// Most values in a text, copies through aliases included.
const VALUES_MAX: usize = 1_000_000;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub place: Place,
    pub value: Value,
}

/// What stands there.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    Empty,
    /// Any scalar, as written.
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
    /// A problem was told already; readers stay silent.
    Broken,
}

/// A key of a map.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub place: Place,
    pub text: String,
}

/// The tree, or `None` where the text is not readable at all; problems in either case.
pub(super) fn parse(source: &Source, problems: &mut Vec<Problem>) -> Option<Node> {
    let text = source.text.as_str();
    if text.len() > TEXT_BYTES_MAX {
        let what = format!(
            "the file has {} bytes, more than {TEXT_BYTES_MAX}",
            text.len()
        );
        problems.push(
            Problem::error(
                Place {
                    line: 1,
                    column: 1,
                    length: 0,
                },
                what,
            )
            .hint("split it, or check that it is the right file"),
        );
        return None;
    }
    let mut limits: Options =
        options! { flow_nesting_limit: 2 * DEPTH_MAX, block_nesting_limit: 2 * DEPTH_MAX };
    limits.set_emit_comments(false);
    let events = Parser::new_from_str_with_options(text, limits);
    let mut builder = Builder {
        lines: Lines::of(text),
        events,
        anchors: HashMap::new(),
        values: 0,
        problems,
    };
    match builder.document() {
        Ok(node) => node,
        Err(stop) => {
            builder.tell(stop);
            None
        }
    }
}

/// Why reading stopped.
enum Stop {
    Syntax(ScanError),
    Limit(Place, String, &'static str),
}

struct Builder<'t, E> {
    lines: Lines<'t>,
    events: E,
    anchors: HashMap<usize, (Node, usize)>,
    values: usize,
    problems: &'t mut Vec<Problem>,
}

impl<'t, E: Iterator<Item = Result<(Event<'t>, Span), ScanError>>> Builder<'t, E> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Place)>, Stop> {
        match self.events.next() {
            None => Ok(None),
            Some(Ok((event, span))) => {
                let start = span.start.byte_offset().unwrap_or(0);
                let end = span.end.byte_offset().unwrap_or(start);
                Ok(Some((event, self.lines.place(start..end))))
            }
            Some(Err(error)) => Err(Stop::Syntax(error)),
        }
    }

    fn document(&mut self) -> Result<Option<Node>, Stop> {
        let mut root = None;
        while let Some((event, place)) = self.next()? {
            match event {
                Event::DocumentStart(..) if root.is_some() => {
                    self.problems.push(
                        Problem::error(place, "a second document starts here")
                            .hint("keep one document: remove the `---` line"),
                    );
                    return Ok(None);
                }
                Event::StreamStart
                | Event::StreamEnd
                | Event::DocumentStart(..)
                | Event::DocumentEnd => {}
                event => root = Some(self.node(event, place, 0)?),
            }
        }
        if root.is_none() {
            let hint = "it needs at least `listeners:`, `pools:` and `routes:`";
            self.problems
                .push(Problem::error(self.lines.place(0..0), "the file is empty").hint(hint));
        }
        Ok(root)
    }

    fn node(&mut self, event: Event<'t>, place: Place, depth: usize) -> Result<Node, Stop> {
        self.count(1, place)?;
        if depth > DEPTH_MAX {
            let what = format!("more than {DEPTH_MAX} lists and maps inside each other");
            return Err(Stop::Limit(
                place,
                what,
                "the configuration needs no more than 6",
            ));
        }
        let before = self.values;
        let (value, anchor, tagged) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let empty = style == ScalarStyle::Plain
                    && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let value = if empty {
                    Value::Empty
                } else {
                    Value::Text(text.into_owned())
                };
                (value, anchor, tag.is_some())
            }
            Event::SequenceStart(_, anchor, tag) => (self.list(depth)?, anchor, tag.is_some()),
            Event::MappingStart(_, anchor, tag) => (self.map(depth)?, anchor, tag.is_some()),
            Event::Alias(anchor) => return self.alias(anchor, place),
            _ => (Value::Broken, 0, false),
        };
        let mut node = Node { place, value };
        if tagged {
            self.problems.push(
                Problem::error(place, "tags such as `!x` have no meaning here")
                    .hint("remove the tag"),
            );
            node.value = Value::Broken;
        }
        if anchor != 0 {
            let size = self.values - before + 1;
            self.count(size, place)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<Node, Stop> {
        let Some((node, size)) = self.anchors.get(&anchor) else {
            self.problems.push(Problem::error(
                place,
                "an alias inside the value it repeats",
            ));
            return Ok(Node {
                place,
                value: Value::Broken,
            });
        };
        let (node, size) = (node.clone(), *size);
        self.count(size, place)?;
        Ok(node)
    }

    fn count(&mut self, values: usize, place: Place) -> Result<(), Stop> {
        self.values = self.values.saturating_add(values);
        if self.values > VALUES_MAX {
            let what = format!("more than {VALUES_MAX} values, repeated ones included");
            return Err(Stop::Limit(
                place,
                what,
                "write values out instead of nesting aliases",
            ));
        }
        Ok(())
    }

    fn list(&mut self, depth: usize) -> Result<Value, Stop> {
        let mut items = Vec::new();
        while let Some((event, place)) = self.next()? {
            if matches!(event, Event::SequenceEnd) {
                break;
            }
            items.push(self.node(event, place, depth + 1)?);
        }
        Ok(Value::List(items))
    }

    fn map(&mut self, depth: usize) -> Result<Value, Stop> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        let mut seen: HashMap<String, Place> = HashMap::new();
        while let Some((event, place)) = self.next()? {
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = self.key(event, place, depth)?;
            let Some((event, place)) = self.next()? else {
                break;
            };
            let node = self.node(event, place, depth + 1)?;
            let Some(key) = key else { continue };
            match seen.get(&key.text) {
                Some(first) => {
                    let what = format!(
                        "the key {} stands here a second time, first on line {}",
                        quoted(&key.text),
                        first.line
                    );
                    self.problems
                        .push(Problem::error(key.place, what).hint("keep one of the two"));
                }
                None => {
                    seen.insert(key.text.clone(), key.place);
                    entries.push((key, node));
                }
            }
        }
        Ok(Value::Map(entries))
    }

    /// The key, or `None` after a problem.
    fn key(&mut self, event: Event<'t>, place: Place, depth: usize) -> Result<Option<Key>, Stop> {
        let node = self.node(event, place, depth + 1)?;
        match node.value {
            Value::Text(text) if text == "<<" => {
                self.problems.push(
                    Problem::error(place, "merge keys (`<<`) are not read")
                        .hint("write the keys out"),
                );
                Ok(None)
            }
            Value::Text(text) => Ok(Some(Key { place, text })),
            Value::Broken => Ok(None),
            Value::Empty | Value::List(_) | Value::Map(_) => {
                self.problems
                    .push(Problem::error(place, "a key must be a word").hint("write `key: value`"));
                Ok(None)
            }
        }
    }

    fn tell(&mut self, stop: Stop) {
        let problem = match stop {
            Stop::Limit(place, what, hint) => Problem::error(place, what).hint(hint),
            Stop::Syntax(error) => {
                let at = error.marker().byte_offset().unwrap_or(0);
                let place = self.lines.place(at..at + 1);
                let problem = Problem::error(place, format!("this is not YAML: {}", error.kind()));
                if self.lines.indented_by_tab(place.line) {
                    problem.hint("indent with spaces; YAML takes no tabs")
                } else {
                    problem.hint(
                        "look at the brackets, quotes and indentation here and on the line above",
                    )
                }
            }
        };
        self.problems.push(problem);
    }
}

/// Where lines start, so that a place costs one binary search.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
    /// The last place asked for: line, byte and characters before it. Counting goes on from there,
    /// or a text of one long line would be counted from its start for every value.
    last: (usize, usize, usize),
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Lines<'t> {
        let newlines = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1);
        Lines {
            text,
            starts: std::iter::once(0).chain(newlines).collect(),
            last: (0, 0, 0),
        }
    }

    /// The place of a span of bytes; a span over several lines is cut at the end of its first.
    fn place(&mut self, span: Range<usize>) -> Place {
        let line = self
            .starts
            .partition_point(|&start| start <= span.start)
            .saturating_sub(1);
        let line_start = self.starts.get(line).copied().unwrap_or(0);
        let line_end = self
            .starts
            .get(line + 1)
            .map_or(self.text.len(), |next| next - 1);
        let start = self.text.floor_char_boundary(span.start.min(line_end));
        let end = self
            .text
            .floor_char_boundary(span.end.clamp(start, line_end));
        let (from, before) = match self.last {
            (last, byte, before) if last == line && byte <= start && byte >= line_start => {
                (byte, before)
            }
            _ => (line_start, 0),
        };
        let before = before + self.text[from..start].chars().count();
        self.last = (line, start, before);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Place {
            line: count(line + 1),
            column: count(before + 1),
            length: count(self.text[start..end].chars().count()),
        }
    }

    fn indented_by_tab(&self, line: u32) -> bool {
        let at = (line as usize).saturating_sub(1);
        let text = self.starts.get(at).map_or("", |&start| &self.text[start..]);
        text.bytes()
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .any(|b| b == b'\t')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Option<Node>, Vec<Problem>) {
        let mut problems = Vec::new();
        let source = Source {
            name: "t".to_owned(),
            text: text.to_owned(),
        };
        let node = parse(&source, &mut problems);
        (node, problems)
    }

    fn shape(node: &Node) -> String {
        match &node.value {
            Value::Empty => "-".to_owned(),
            Value::Broken => "!".to_owned(),
            Value::Text(text) => format!(
                "{text}@{}:{}+{}",
                node.place.line, node.place.column, node.place.length
            ),
            Value::List(items) => format!(
                "[{}]",
                items.iter().map(shape).collect::<Vec<_>>().join(" ")
            ),
            Value::Map(entries) => {
                let entries: Vec<_> = entries
                    .iter()
                    .map(|(key, node)| format!("{}:{}", key.text, shape(node)))
                    .collect();
                format!("{{{}}}", entries.join(" "))
            }
        }
    }

    #[test]
    fn scalars_stay_text_and_keep_their_place() {
        let cases = [
            ("a: off", "{a:off@1:4+3}"),
            ("a: 0x10\nb: \"1\"", "{a:0x10@1:4+4 b:1@2:4+3}"),
            (
                "a: { b: [x, 'y z'], c: }",
                "{a:{b:[x@1:10+1 y z@1:13+5] c:-}}",
            ),
            ("é: ü # note\n", "{é:ü@1:4+1}"),
            ("a:\r\n  b: c\r\n", "{a:{b:c@2:6+1}}"),
            ("a: &x [1]\nb: *x", "{a:[1@1:8+1] b:[1@1:8+1]}"),
        ];
        for (text, want) in cases {
            let (node, problems) = read(text);
            assert_eq!(problems, [], "{text}");
            assert_eq!(shape(&node.expect("a tree")), want, "{text}");
        }
    }

    #[test]
    fn one_long_line_is_read_in_one_pass() {
        let text = format!("é: [{}z]", "x,".repeat(200_000));
        let (node, problems) = read(&text);
        assert_eq!(problems, []);
        let Some(Value::Map(entries)) = node.map(|node| node.value) else {
            panic!("no map")
        };
        let Value::List(items) = &entries[0].1.value else {
            panic!("no list")
        };
        let last = items.last().map(|item| item.place);
        assert_eq!(
            last,
            Some(Place {
                line: 1,
                column: 400_005,
                length: 1
            })
        );
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_place() {
        let deep = format!("a: {}{}", "[".repeat(70), "]".repeat(70));
        let bomb = (1..30).fold("a0: &a0 [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
            let before = format!("*a{},", n - 1).repeat(9);
            format!("{text}a{n}: &a{n} [{before}]\n")
        });
        let huge = "#".repeat(TEXT_BYTES_MAX + 1);
        let cases = [
            ("", 1, "empty"),
            ("# only a comment\n", 1, "empty"),
            ("a: 1\nb: 2\na: 3\n", 3, "second time, first on line 1"),
            ("a: [1, 2\nb: 3\n", 2, "not YAML"),
            ("a:\n\tb: 1\n", 2, "not YAML"),
            ("a: !x 1", 1, "tags"),
            ("a: 1\n---\nb: 1\n", 2, "second document"),
            ("<<: {a: 1}", 1, "merge"),
            ("[a]: 1", 1, "key must be a word"),
            ("a: *nowhere", 1, "not YAML"),
            ("a: &a [*a]", 1, "alias inside"),
            (&deep, 1, "inside each other"),
            (&bomb, 6, "more than 1000000 values"),
            (&huge, 1, "bytes, more than"),
        ];
        for (text, line, what) in cases {
            let (_, problems) = read(text);
            let text: String = text.chars().take(80).collect();
            assert_eq!(problems.len(), 1, "{text}: {problems:?}");
            assert!(
                problems[0].what.contains(what),
                "{text}: {}",
                problems[0].what
            );
            assert_eq!(problems[0].place.line, line, "{text}: {}", problems[0].what);
        }
    }
}
