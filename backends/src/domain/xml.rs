//! What does a machine say of its hardware? The XML of `lshw`, read into a tree of elements.
//!
//! Takes elements with attributes, text, the five named entities and numbers, CDATA; comments, declarations
//! and processing instructions are passed over. Agents send it, so that nothing in it may cost more than it
//! brings: depth and number of elements are bounded, and entities that a document declares are not known.
//! Does not know namespaces, nor what the elements mean; that is `domain::hardware`.

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

/// Deepest nesting.
const DEPTH_MAX: usize = 64;
/// Most elements of a document.
const ELEMENTS_MAX: usize = 20_000;

/// An element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// Its attributes, in their order.
    pub attributes: Vec<(String, String)>,
    /// The elements in it, in their order.
    pub children: Vec<Element>,
    /// The text in it, but for that of its children; without space around it.
    pub text: String,
}

impl Element {
    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The first child of a name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }
}

/// Reads a document. None where it is none, or beyond a bound.
pub fn read(text: &str) -> Option<Element> {
    let mut reader = Reader::from_str(text);
    let mut tree = Tree::default();
    // What follows the document is nobody's.
    while tree.whole.is_none() {
        match reader.read_event().ok()? {
            Event::Start(start) => tree.begin(&start)?,
            Event::Empty(start) => {
                tree.begin(&start)?;
                tree.end();
            }
            Event::End(_) => tree.end(),
            Event::Text(text) => tree.say(&text)?,
            Event::CData(text) => tree.say(&text)?,
            Event::GeneralRef(entity) => match entity.resolve_char_ref().ok()? {
                Some(character) => tree.say(character.encode_utf8(&mut [0; 4]))?,
                None => tree.say(resolve_predefined_entity(&entity)?)?,
            },
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
            Event::Eof => return None,
        }
    }
    tree.whole
}

/// A document that is being read.
#[derive(Default)]
struct Tree {
    /// Elements that have begun, each in the one before it.
    open: Vec<Element>,
    /// Elements so far.
    count: usize,
    /// The document, once it has ended.
    whole: Option<Element>,
}

impl Tree {
    fn begin(&mut self, start: &BytesStart<'_>) -> Option<()> {
        self.count += 1;
        if self.open.len() == DEPTH_MAX || self.count > ELEMENTS_MAX {
            return None;
        }
        let mut element = Element {
            name: start.name().as_ref().to_owned(),
            ..Element::default()
        };
        // Looking for repeated names takes the square of their number.
        for attribute in start.attributes().with_checks(false) {
            let attribute = attribute.ok()?;
            let value = attribute.normalized_value(XmlVersion::Implicit1_0).ok()?;
            let name = attribute.key.as_ref().to_owned();
            element.attributes.push((name, value.into_owned()));
        }
        self.open.push(element);
        Some(())
    }

    /// Ends the innermost element.
    fn end(&mut self) {
        let Some(mut done) = self.open.pop() else {
            return;
        };
        done.text = done.text.trim().to_owned();
        match self.open.last_mut() {
            Some(parent) => parent.children.push(done),
            None => self.whole = Some(done),
        }
    }

    fn say(&mut self, text: &str) -> Option<()> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim_start_matches('\u{feff}').trim().is_empty() => {}
            None => return None,
        }
        Some(())
    }
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
        assert_eq!((list.name.as_str(), list.children.len()), ("list", 1));
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
