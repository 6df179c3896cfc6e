//! What stands in a source? Its code without comments, strings and tests, its strings, its words. Shared by the tests
//! that look at how the packages are built, each of which includes this file.
//!
//! Reads text, as far as these tests need it: knows no types and no macros.

/// The text with comments and the insides of strings made blank, and the strings. A string begins in the code with its
/// quotation mark.
pub fn parts(text: &str) -> (String, Vec<(usize, String)>) {
    let bytes = text.as_bytes();
    let (mut code, mut strings, mut at) = (bytes.to_vec(), Vec::new(), 0);
    while at < bytes.len() {
        let rest = &text[at..];
        let word_before = code_before(&bytes[..at]);
        let (length, keeps) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), 0)
        } else if rest.starts_with("/*") {
            (rest.find("*/").map_or(rest.len(), |end| end + 2), 0)
        } else if let Some(hashes) =
            raw_string(rest).filter(|_| matches!(word_before, b"" | b"b" | b"c"))
        {
            let opening = hashes + 2;
            let closing = format!("\"{}", "#".repeat(hashes));
            let end = rest[opening..]
                .find(&closing)
                .map_or(rest.len(), |end| opening + end);
            strings.push((at + hashes + 1, rest[opening..end].to_owned()));
            ((end + closing.len()).min(rest.len()), opening)
        } else if rest.starts_with('"') {
            let end = quoted(&bytes[at..], b'"');
            strings.push((at, unbroken(&rest[1..end - 1])));
            (end, 1)
        } else if rest.starts_with("'\\") || (rest.starts_with('\'') && is_character(rest)) {
            (quoted(&bytes[at..], b'\''), 0)
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
            continue;
        };
        for byte in &mut code[at + keeps..at + length] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at += length;
    }
    (String::from_utf8(code).expect("blanks are text"), strings)
}

/// The word that ends where something begins, as the `b` of `br"x"`.
fn code_before(before: &[u8]) -> &[u8] {
    let part_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let length = before.iter().rev().take_while(|byte| part_of_word(byte));
    &before[before.len() - length.count()..]
}

/// How many `#` a raw string begins with, where one begins.
fn raw_string(rest: &str) -> Option<usize> {
    let rest = rest.strip_prefix('r')?;
    let hashes = rest.bytes().take_while(|byte| *byte == b'#').count();
    rest[hashes..].starts_with('"').then_some(hashes)
}

/// `'x'` and not the name of a lifetime.
fn is_character(rest: &str) -> bool {
    let mut characters = rest.chars().skip(1);
    characters.next().is_some() && characters.next() == Some('\'')
}

fn quoted(rest: &[u8], end: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != end {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// A string as it is, as far as its line ends go.
fn unbroken(text: &str) -> String {
    let lines = text.split("\\\n").map(str::trim_start);
    lines.collect::<Vec<_>>().concat()
}

/// Makes items under `#[cfg(test)]` blank.
pub fn without_tests(mut code: String) -> String {
    const MARK: &str = "#[cfg(test)]";
    while let Some(start) = code.find(MARK) {
        let (mut depth, mut end) = (0usize, code.len());
        for (at, c) in code[start + MARK.len()..].char_indices() {
            match c {
                '{' | '[' | '(' => depth += 1,
                '}' | ']' | ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 && matches!(c, ';' | '}') {
                end = start + MARK.len() + at + c.len_utf8();
                break;
            }
        }
        let blank = code[start..end].bytes();
        let blank: Vec<u8> = blank.map(|b| if b == b'\n' { b } else { b' ' }).collect();
        let blank = String::from_utf8(blank).expect("blanks are text");
        code.replace_range(start..end, &blank);
    }
    code
}

/// Words and where they begin.
pub fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = 0;
    std::iter::from_fn(move || {
        at += code[at..].find(part_of_word)?;
        let length = code[at..].find(|c| !part_of_word(c));
        let length = length.unwrap_or(code.len() - at);
        let word = (at, &code[at..at + length]);
        at += length;
        Some(word)
    })
}

/// The items of a list, up to its closing brace.
pub fn items(list: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&list[start..at]);
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&list[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}
