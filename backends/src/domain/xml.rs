//! What does a machine say of its hardware? The XML of `lshw`, read into a tree of elements.
//!
//! Takes elements with attributes, text, the five named entities and numbers, CDATA; comments, declarations
//! and processing instructions are passed over. Agents send it, so that nothing in it may cost more than it
//! brings: depth and number of elements are bounded, and entities that a document declares are not known.
//! Does not know namespaces, nor what the elements mean; that is `domain::hardware`.

/// Deepest nesting.
const DEPTH_MAX: usize = 64;
/// Most elements of a document.
const ELEMENTS_MAX: usize = 20_000;

/// An element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its attributes, in their order.
    pub attributes: Vec<(&'a str, String)>,
    /// The elements in it, in their order.
    pub children: Vec<Element<'a>>,
    /// The text in it, but for that of its children; without space around it.
    pub text: String,
}

impl<'a> Element<'a> {
    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The first child of a name.
    pub fn child(&self, name: &str) -> Option<&Element<'a>> {
        self.children.iter().find(|child| child.name == name)
    }
}

/// Reads a document. None where it is none, or beyond a bound.
pub fn read(text: &str) -> Option<Element<'_>> {
    let mut open: Vec<Element<'_>> = Vec::new();
    let mut count = 0;
    let mut rest = text;
    loop {
        let (before, mark) = rest.split_once('<')?;
        match open.last_mut() {
            Some(element) => push_text(&mut element.text, before)?,
            None if !before.trim().trim_start_matches('\u{feff}').is_empty() => return None,
            None => {}
        }
        if let Some(past) = passed_over(mark, open.last_mut())? {
            rest = past;
            continue;
        }
        if let Some(end) = mark.strip_prefix('/') {
            let (name, after) = end.split_once('>')?;
            let mut done = open.pop().filter(|one| one.name == name.trim_end())?;
            done.text = done.text.trim().to_owned();
            match open.last_mut() {
                Some(parent) => parent.children.push(done),
                None => return Some(done),
            }
            rest = after;
            continue;
        }
        count += 1;
        if open.len() == DEPTH_MAX || count > ELEMENTS_MAX {
            return None;
        }
        let (element, empty, after) = start(mark)?;
        rest = after;
        if !empty {
            open.push(element);
            continue;
        }
        match open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => return Some(element),
        }
    }
}

/// What follows a comment, a declaration or CDATA, whose text `into` gets; the outer None for one without
/// an end, the inner for something else.
#[allow(clippy::option_option)]
fn passed_over<'a>(mark: &'a str, into: Option<&mut Element<'a>>) -> Option<Option<&'a str>> {
    if let Some(comment) = mark.strip_prefix("!--") {
        return Some(Some(comment.split_once("-->")?.1));
    }
    if let Some(data) = mark.strip_prefix("![CDATA[") {
        let (data, after) = data.split_once("]]>")?;
        into?.text.push_str(data);
        return Some(Some(after));
    }
    if let Some(instruction) = mark.strip_prefix('?') {
        return Some(Some(instruction.split_once("?>")?.1));
    }
    match mark.strip_prefix('!') {
        // What a document declares of its own is not taken.
        Some(declaration) => {
            let (inside, after) = declaration.split_once('>')?;
            (!inside.contains('[')).then_some(Some(after))
        }
        None => Some(None),
    }
}

/// An element's start: itself, whether that is all of it, and what follows.
fn start(mark: &str) -> Option<(Element<'_>, bool, &str)> {
    let ends = |c: char| c.is_whitespace() || c == '>' || c == '/';
    let (name, mut rest) = mark.split_at(mark.find(ends)?);
    if name.is_empty() {
        return None;
    }
    let mut element = Element {
        name,
        ..Element::default()
    };
    loop {
        rest = rest.trim_start();
        if let Some(after) = rest.strip_prefix("/>") {
            return Some((element, true, after));
        }
        if let Some(after) = rest.strip_prefix('>') {
            return Some((element, false, after));
        }
        let (name, value) = rest.split_once('=')?;
        let value = value.trim_start();
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        let (value, after) = value[1..].split_once(quote)?;
        let name = name.trim_end();
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || "<>\"'/".contains(c)) {
            return None;
        }
        let mut text = String::new();
        push_text(&mut text, value)?;
        element.attributes.push((name, text));
        rest = after;
    }
}

/// Adds a text in which entities stand for characters. None for one that is not known.
fn push_text(into: &mut String, mut text: &str) -> Option<()> {
    while let Some((before, entity)) = text.split_once('&') {
        into.push_str(before);
        let (name, after) = entity.split_once(';')?;
        into.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            _ => {
                let number = name.strip_prefix('#')?;
                let code = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code)?
            }
        });
        text = after;
    }
    into.push_str(text);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn elements_are_read_with_their_attributes_and_texts() {
        let text = "\u{feff}<?xml version=\"1.0\"?>\n<!DOCTYPE list><!-- <x> -->\
                    <list><node id='a' class = \"disk\"><size units=\"bytes\"> 7 </size>\
                    <claimed/>x &lt;&#x41;&#66;<![CDATA[<&]]></node ></list>";
        let list = read(text).expect("a document");
        assert_eq!((list.name, list.children.len()), ("list", 1));
        let node = &list.children[0];
        assert_eq!(node.attribute("class"), Some("disk"));
        assert_eq!(node.attribute("nothing"), None);
        let size = node.child("size").expect("a size");
        assert_eq!((size.attribute("units"), &*size.text), (Some("bytes"), "7"));
        assert!(node.child("claimed").is_some());
        assert_eq!(node.text, "x <AB<&");
        // What follows the document is nobody's.
        assert!(read("<a/>\n<b").is_some());
    }

    #[test]
    fn what_is_no_document_is_none() {
        let deep = "<a>".repeat(DEPTH_MAX + 1);
        let many = format!("<a>{}</a>", "<b/>".repeat(ELEMENTS_MAX));
        for text in [
            "",
            "lshw: not found",
            "x<a/>",
            "<a>",
            "<a></b>",
            "</a>",
            "<>",
            "<a b></a>",
            "<a b=c></a>",
            "<a b=\"c></a>",
            "<a>&unknown;</a>",
            "<a>&#x110000;</a>",
            "<a>&</a>",
            "<a><!-- </a>",
            "<!DOCTYPE a [<!ENTITY e \"ee\">]><a>&e;</a>",
            "<![CDATA[x]]>",
            &deep,
            &many,
        ] {
            assert_eq!(read(text), None, "{}", text.get(..40).unwrap_or(text));
        }
    }

    proptest! {
        #[test]
        fn nothing_that_an_agent_sends_breaks_it(
            text in "(<[a-c/!?]{0,2}|[a-c]{1,2}|=\"|'|\"|>|/>|&(lt|#x?[0-9a-f]{1,6})?;?|\\]\\]>|-->|é| ){0,60}",
            any in ".{0,200}",
        ) {
            let _ = (read(&text), read(&any));
        }
    }
}
