//! XML as a small tree, with its namespaces resolved: for messages that are short and come from strangers.
//!
//! There are no document types, and thus no entities but the five that XML itself has: those can make
//! much of little. Comments and processing instructions are left out.

use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::{PrefixDeclaration, ResolveResult};
use quick_xml::reader::NsReader;
use quick_xml::{XmlVersion, escape};
use thiserror::Error;

/// The namespace of WebDAV.
pub const DAV: &str = "DAV:";

/// The namespace of `xml:lang` and its like.
const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// Elements inside each other, at most.
const MAX_DEPTH: usize = 32;

/// Elements and attributes of a document, at most.
const MAX_NODES: usize = 4096;

/// The name of an element or attribute.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// Its namespace; empty for none.
    pub namespace: Box<str>,
    /// Without prefix.
    pub local: Box<str>,
}

/// An element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Its name.
    pub name: Name,
    /// Its attributes, but for those that declare namespaces.
    pub attributes: Vec<(Name, Box<str>)>,
    /// What it holds.
    pub content: Vec<Node>,
}

/// What an element holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Another element.
    Element(Element),
    /// Text.
    Text(String),
}

/// Why bytes are no document. All of these are answered with 400.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum XmlError {
    /// It is not well formed, or a prefix has no namespace.
    #[error("the XML is not well formed")]
    Malformed,
    /// It is not in UTF-8.
    #[error("the XML is not in UTF-8")]
    Encoding,
    /// It has a document type.
    #[error("the XML has a document type")]
    DocType,
    /// There are more than 32 elements inside each other, or more than 4,096 elements and attributes.
    #[error("the XML is too complex")]
    Complex,
}

impl Name {
    /// A name of WebDAV.
    #[must_use]
    pub fn dav(local: &str) -> Self {
        Self { namespace: DAV.into(), local: local.into() }
    }

    /// Whether it is this name of WebDAV.
    #[must_use]
    pub fn is_dav(&self, local: &str) -> bool {
        &*self.namespace == DAV && &*self.local == local
    }
}

impl Element {
    /// Reads a document.
    ///
    /// # Errors
    /// When it is not well formed, or more than is read here.
    pub fn parse(document: &[u8]) -> Result<Self, XmlError> {
        let text = std::str::from_utf8(document).map_err(|_| XmlError::Encoding)?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Builder { reader: NsReader::from_str(text), open: Vec::new(), nodes: 0 }.read()
    }

    /// The elements it holds.
    pub fn elements(&self) -> impl Iterator<Item = &Self> {
        self.content.iter().filter_map(|node| match node {
            Node::Element(element) => Some(element),
            Node::Text(_) => None,
        })
    }

    /// The first element of WebDAV that it holds by this name.
    #[must_use]
    pub fn dav(&self, local: &str) -> Option<&Self> {
        self.elements().find(|element| element.name.is_dav(local))
    }

    /// The language of its text, if it says so itself.
    #[must_use]
    pub fn lang(&self) -> Option<&str> {
        let is_lang = |name: &Name| &*name.namespace == XML && &*name.local == "lang";
        self.attributes.iter().find(|(name, _)| is_lang(name)).map(|(_, value)| &**value)
    }

    /// Says what the language of its text is.
    pub fn set_lang(&mut self, lang: &str) {
        let name = Name { namespace: XML.into(), local: "lang".into() };
        self.attributes.push((name, lang.into()));
    }

    /// Appends it to a document, such that it means the same wherever it stands.
    pub fn write(&self, out: &mut String) {
        self.write_within(None, out);
    }

    fn write_within(&self, outer: Option<&str>, out: &mut String) {
        let (namespace, local) = (&*self.name.namespace, &*self.name.local);
        out.push('<');
        out.push_str(local);
        if outer != Some(namespace) {
            push_attribute(out, "xmlns", namespace);
        }
        for (number, (name, value)) in self.attributes.iter().enumerate() {
            match &*name.namespace {
                "" => push_attribute(out, &name.local, value),
                XML => push_attribute(out, &format!("xml:{}", name.local), value),
                namespace => {
                    push_attribute(out, &format!("xmlns:n{number}"), namespace);
                    push_attribute(out, &format!("n{number}:{}", name.local), value);
                }
            }
        }
        if self.content.is_empty() {
            out.push_str("/>");
            return;
        }
        out.push('>');
        for node in &self.content {
            match node {
                Node::Element(element) => element.write_within(Some(namespace), out),
                Node::Text(text) => out.push_str(&escape::escape(&**text)),
            }
        }
        out.push_str("</");
        out.push_str(local);
        out.push('>');
    }
}

fn push_attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    for c in value.chars() {
        match c {
            // Else they are read as spaces.
            '\t' | '\n' => out.push_str(if c == '\t' { "&#9;" } else { "&#10;" }),
            _ => out.push_str(&escape::escape(&*c.encode_utf8(&mut [0; 4]))),
        }
    }
    out.push('"');
}

/// A document that is being read.
struct Builder<'t> {
    reader: NsReader<&'t [u8]>,
    /// The elements that have begun, the outermost first.
    open: Vec<Element>,
    nodes: usize,
}

impl Builder<'_> {
    fn read(mut self) -> Result<Element, XmlError> {
        let mut root = None;
        loop {
            let event = self.reader.read_event().map_err(|_| XmlError::Malformed)?;
            let ended = match event {
                Event::Start(start) => {
                    let element = self.element(&start)?;
                    self.open.push(element);
                    None
                }
                Event::Empty(start) => Some(self.element(&start)?),
                Event::End(_) => self.open.pop(),
                Event::Text(text) => {
                    self.text(&text.xml10_content())?;
                    None
                }
                Event::CData(text) => {
                    self.text(&text.xml10_content())?;
                    None
                }
                Event::GeneralRef(entity) => {
                    let text = match entity.resolve_char_ref().map_err(|_| XmlError::Malformed)? {
                        Some(c) => self.text(c.encode_utf8(&mut [0; 4])),
                        None => match resolve_predefined_entity(&entity) {
                            Some(text) => self.text(text),
                            None => Err(XmlError::Malformed),
                        },
                    };
                    text?;
                    None
                }
                Event::Decl(declaration) => {
                    let encoding = declaration.encoding().transpose();
                    match encoding.map_err(|_| XmlError::Malformed)? {
                        Some(name) if !is_utf8(&name) => return Err(XmlError::Encoding),
                        _ => None,
                    }
                }
                Event::DocType(_) => return Err(XmlError::DocType),
                Event::Comment(_) | Event::PI(_) => None,
                Event::Eof => break,
            };
            if let Some(element) = ended {
                match self.open.last_mut() {
                    Some(outer) => outer.content.push(Node::Element(element)),
                    None if root.is_none() => root = Some(element),
                    None => return Err(XmlError::Malformed),
                }
            }
            if root.is_some() && !self.open.is_empty() {
                return Err(XmlError::Malformed);
            }
        }
        root.filter(|_| self.open.is_empty()).ok_or(XmlError::Malformed)
    }

    fn count(&mut self) -> Result<(), XmlError> {
        self.nodes += 1;
        let within = self.nodes <= MAX_NODES && self.open.len() < MAX_DEPTH;
        if within { Ok(()) } else { Err(XmlError::Complex) }
    }

    fn element(&mut self, start: &BytesStart<'_>) -> Result<Element, XmlError> {
        self.count()?;
        let (namespace, local) = self.reader.resolver().resolve_element(start.name());
        let name = name_of(namespace, local.into_inner())?;
        let mut attributes: Vec<(Name, Box<str>)> = Vec::new();
        // That none is there twice is seen below, at less cost.
        for attribute in start.attributes().with_checks(false) {
            self.count()?;
            let attribute = attribute.map_err(|_| XmlError::Malformed)?;
            let value = attribute.normalized_value(XmlVersion::Explicit1_0);
            let value = value.map_err(|_| XmlError::Malformed)?;
            check_text(&value)?;
            if let Some(declared) = attribute.key.as_namespace_binding() {
                let named = !matches!(declared, PrefixDeclaration::Default);
                // Only the default namespace can be taken back (Namespaces in XML 1.0, section 5).
                if named && value.is_empty() {
                    return Err(XmlError::Malformed);
                }
                continue;
            }
            let (namespace, local) = self.reader.resolver().resolve_attribute(attribute.key);
            attributes.push((name_of(namespace, local.into_inner())?, (*value).into()));
        }
        let mut names: Vec<_> = attributes.iter().map(|(n, _)| (&n.namespace, &n.local)).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return Err(XmlError::Malformed);
        }
        Ok(Element { name, attributes, content: Vec::new() })
    }

    fn text(&mut self, text: &str) -> Result<(), XmlError> {
        check_text(text)?;
        match self.open.last_mut().map(|element| &mut element.content) {
            Some(content) => match content.last_mut() {
                Some(Node::Text(before)) => before.push_str(text),
                _ => content.push(Node::Text(text.to_owned())),
            },
            // Outside of the root there is space only.
            None if text.trim_matches([' ', '\t', '\r', '\n']).is_empty() => {}
            None => return Err(XmlError::Malformed),
        }
        Ok(())
    }
}

fn name_of(namespace: ResolveResult<'_>, local: &str) -> Result<Name, XmlError> {
    let namespace = match namespace {
        ResolveResult::Bound(namespace) => {
            // As it is written in the document, escapes and all.
            escape::unescape(namespace.into_inner()).map_err(|_| XmlError::Malformed)?
        }
        ResolveResult::Unbound => "".into(),
        ResolveResult::Unknown(_) => return Err(XmlError::Malformed),
    };
    // As in NCName, though it does not tell the characters beyond ASCII apart.
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    let goes_on = |c: char| begins(c) || c.is_ascii_digit() || c == '-' || c == '.';
    if !local.starts_with(begins) || !local.chars().all(goes_on) {
        return Err(XmlError::Malformed);
    }
    check_text(local)?;
    check_text(&namespace)?;
    Ok(Name { namespace: (*namespace).into(), local: local.into() })
}

/// Finds characters that no document may have (XML 1.0, section 2.2).
fn check_text(text: &str) -> Result<(), XmlError> {
    let is_char = |c: char| match c {
        '\t' | '\n' | '\r' => true,
        _ => c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}'),
    };
    if text.chars().all(is_char) { Ok(()) } else { Err(XmlError::Malformed) }
}

fn is_utf8(name: &str) -> bool {
    ["utf-8", "utf8", "us-ascii"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        let mut out = String::new();
        Element::parse(text.as_bytes()).expect(text).write(&mut out);
        out
    }

    #[test]
    fn written_to_mean_the_same_anywhere() {
        for (text, expected) in [
            ("<a/>", r#"<a xmlns=""/>"#),
            ("<D:a xmlns:D='DAV:'><D:b/>t</D:a>", r#"<a xmlns="DAV:"><b/>t</a>"#),
            (
                "<?xml version='1.0' encoding='UTF-8'?>\n<a xmlns='x'><b xmlns=''/></a>\n",
                r#"<a xmlns="x"><b xmlns=""/></a>"#,
            ),
            (
                "<a xmlns:p='u' p:b='1&amp;2' c='&quot;' xml:lang='en'/>",
                r#"<a xmlns="" xmlns:n0="u" n0:b="1&amp;2" c="&quot;" xml:lang="en"/>"#,
            ),
            ("<a>&lt;&#x41;<![CDATA[<]]><!-- x -->&#13;</a>", r#"<a xmlns="">&lt;A&lt;&#13;</a>"#),
            ("\u{feff}<ä>𐀀</ä>", r#"<ä xmlns="">𐀀</ä>"#),
            ("<a b='1&#10;2'/>", r#"<a xmlns="" b="1&#10;2"/>"#),
        ] {
            let once = written(text);
            assert_eq!(once, expected, "{text}");
            assert_eq!(written(&once), once, "again");
        }
    }

    #[test]
    fn refused() {
        use XmlError::{Complex, DocType, Encoding, Malformed};
        let deep = |depth: usize| "<a>".repeat(depth) + &"</a>".repeat(depth);
        assert!(Element::parse(deep(MAX_DEPTH).as_bytes()).is_ok());
        let wide = |width: usize| format!("<a>{}</a>", "<b/>".repeat(width - 1));
        assert!(Element::parse(wide(MAX_NODES).as_bytes()).is_ok());
        for (text, error) in [
            ("", Malformed),
            ("text", Malformed),
            ("<a>", Malformed),
            ("</a>", Malformed),
            ("<a></b>", Malformed),
            ("<a/><b/>", Malformed),
            ("<a/>text", Malformed),
            ("<p:a/>", Malformed),
            ("<a p:b='1'/>", Malformed),
            ("<a xmlns:p=''/>", Malformed),
            ("<a b='1' b='2'/>", Malformed),
            ("<a xmlns:p='u' xmlns:q='u' p:b='1' q:b='2'/>", Malformed),
            ("<a b=1/>", Malformed),
            ("<a>&entity;</a>", Malformed),
            ("<a b='&entity;'/>", Malformed),
            ("<a>&#1;</a>", Malformed),
            ("<a>&#x110000;</a>", Malformed),
            ("<a\"b/>", Malformed),
            ("<1a/>", Malformed),
            ("<!DOCTYPE a [<!ENTITY e 'eee'>]><a>&e;</a>", DocType),
            ("<?xml version='1.0' encoding='utf-16'?><a/>", Encoding),
            (&deep(MAX_DEPTH + 1), Complex),
            (&deep(20_000), Complex),
            (&wide(MAX_NODES + 1), Complex),
        ] {
            assert_eq!(Element::parse(text.as_bytes()), Err(error), "{text:.60}");
        }
        assert_eq!(Element::parse(b"<a>\xff</a>"), Err(Encoding));
    }
}
