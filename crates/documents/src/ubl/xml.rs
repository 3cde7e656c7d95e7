//! A thin layer over quick-xml: elements as closures, so that none stays open.

use std::io;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use super::Written;
use crate::{DocumentError, text};

const AGGREGATES: &str = "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2";
const BASICS: &str = "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2";

/// An XML document being written.
pub(super) struct Xml(Writer<Vec<u8>>);

impl Xml {
    pub(super) fn new() -> Self {
        Self(Writer::new_with_indent(Vec::new(), b' ', 2))
    }

    fn event(&mut self, event: Event<'_>) -> Written {
        self.0.write_event(event).map_err(|error| failed(&error))
    }

    /// The outermost element, with UBL's namespaces.
    pub(super) fn root(
        &mut self,
        name: &str,
        namespace: &str,
        body: impl FnOnce(&mut Self) -> Written,
    ) -> Written {
        self.event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
        let start = BytesStart::new(name).with_attributes([
            ("xmlns", namespace),
            ("xmlns:cac", AGGREGATES),
            ("xmlns:cbc", BASICS),
        ]);
        self.event(Event::Start(start))?;
        body(self)?;
        self.event(Event::End(BytesEnd::new(name)))
    }

    /// An element that holds others.
    pub(super) fn element(
        &mut self,
        name: &str,
        body: impl FnOnce(&mut Self) -> Written,
    ) -> Written {
        self.event(Event::Start(BytesStart::new(name)))?;
        body(self)?;
        self.event(Event::End(BytesEnd::new(name)))
    }

    /// An element that holds text. What XML cannot hold of it is a space.
    pub(super) fn leaf(&mut self, name: &str, text: &str) -> Written {
        self.event(Event::Start(BytesStart::new(name)))?;
        self.event(Event::Text(BytesText::new(&text::holdable(text))))?;
        self.event(Event::End(BytesEnd::new(name)))
    }

    /// An element that holds text and has an attribute.
    pub(super) fn leaf_with(&mut self, name: &str, attribute: (&str, &str), text: &str) -> Written {
        let start = BytesStart::new(name).with_attributes([attribute]);
        self.event(Event::Start(start))?;
        self.event(Event::Text(BytesText::new(&text::holdable(text))))?;
        self.event(Event::End(BytesEnd::new(name)))
    }

    pub(super) fn finish(self) -> Result<String, DocumentError> {
        String::from_utf8(self.0.into_inner())
            .map_err(|error| DocumentError::Failed(error.to_string()))
    }
}

fn failed(error: &io::Error) -> DocumentError {
    DocumentError::Failed(error.to_string())
}
