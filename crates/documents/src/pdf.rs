//! PDF by typst, in the process. The template, the fonts and typst's library are made once and
//! shared; a document adds one file, its data.

use std::sync::{Arc, OnceLock};

use sheaf_model::{Invalid, Invoice};
use typst::diag::{FileError, FileResult, SourceDiagnostic};
use typst::foundations::{Bytes, Datetime, Duration, Smart};
use typst::syntax::{FileId, RootedPath, Source, VirtualPath, VirtualRoot};
use typst::text::{Font, FontBook};
use typst::utils::LazyHash;
use typst::{Library, LibraryExt, World};
use typst_layout::PagedDocument;
use typst_pdf::PdfOptions;

use crate::format::too_long;
use crate::page::Page;
use crate::{Corrected, DocumentError, Profile};

/// Above this a PDF carries no structure for screen readers, which would cost as much again as the
/// pages.
const MAX_TAGGED_LINES: usize = 500;
/// Documents for which typst's memo of intermediate results is kept: the template's own parts are
/// found again, and what belonged to one invoice goes.
const MEMO_AGE: usize = 2;

/// The invoice on A4 pages; a credit note names the invoice that it corrects.
///
/// # Errors
/// [`DocumentError::Unsuitable`] with `too_many_lines` above [`MAX_PDF_LINES`], with
/// `too_much_text` where the texts take too many rows; [`DocumentError::Failed`].
pub fn pdf(
    invoice: &Invoice,
    profile: &Profile,
    corrected: Option<&Corrected>,
) -> Result<Vec<u8>, DocumentError> {
    let document = typeset(invoice, profile, corrected)?;
    let options = PdfOptions {
        // Stable for the same version of the same invoice, so that the bytes are.
        ident: Smart::Custom(format!("{}/{}", invoice.id, invoice.version)),
        creator: Smart::Custom(Some("Sheaf".to_owned())),
        tagged: invoice.lines.len() <= MAX_TAGGED_LINES,
        ..PdfOptions::default()
    };
    let bytes = typst_pdf::pdf(&document, &options).map_err(|errors| failed(&errors));
    typst::comemo::evict(MEMO_AGE);
    bytes
}

/// The pages before they are written as PDF.
fn typeset(
    invoice: &Invoice,
    profile: &Profile,
    corrected: Option<&Corrected>,
) -> Result<PagedDocument, DocumentError> {
    if let Some(error) = too_long(invoice) {
        return Err(Invalid::from(error).into());
    }
    let data = serde_json::to_vec(&Page::new(invoice, profile, corrected))
        .map_err(|error| DocumentError::Failed(error.to_string()))?;
    let sheet = Sheet {
        press: press()?,
        data: Bytes::new(data),
    };
    typst::compile::<PagedDocument>(&sheet)
        .output
        .map_err(|errors| failed(&errors))
}

fn failed(errors: &[SourceDiagnostic]) -> DocumentError {
    let messages: Vec<&str> = errors
        .iter()
        .take(3)
        .map(|error| error.message.as_str())
        .collect();
    DocumentError::Failed(messages.join("; "))
}

/// What all documents share.
struct Press {
    library: LazyHash<Library>,
    book: LazyHash<FontBook>,
    fonts: Vec<Font>,
    template: Source,
    data: FileId,
}

fn press() -> Result<Arc<Press>, DocumentError> {
    static PRESS: OnceLock<Result<Arc<Press>, String>> = OnceLock::new();
    PRESS
        .get_or_init(|| Press::new().map(Arc::new))
        .clone()
        .map_err(DocumentError::Failed)
}

impl Press {
    fn new() -> Result<Self, String> {
        // DejaVu covers Latin, Greek, Cyrillic, Arabic and Hebrew. Condensed, since tables are
        // narrow.
        let files = [
            dejavu::sans_condensed::regular(),
            dejavu::sans_condensed::bold(),
        ];
        let fonts: Vec<Font> = files
            .into_iter()
            .flat_map(|file| Font::iter(Bytes::new(file)))
            .collect();
        if fonts.len() != files.len() {
            return Err("a font cannot be read".to_owned());
        }
        Ok(Self {
            library: LazyHash::new(Library::default()),
            book: LazyHash::new(FontBook::from_fonts(&fonts)),
            fonts,
            template: Source::new(
                file("invoice.typ")?,
                include_str!("template.typ").to_owned(),
            ),
            data: file("data.json")?,
        })
    }
}

fn file(name: &str) -> Result<FileId, String> {
    let path = VirtualPath::new(name).map_err(|error| format!("{error:?}"))?;
    Ok(RootedPath::new(VirtualRoot::Project, path).intern())
}

/// One document's world: the shared press, and its data. It has no other file, no package, no
/// clock.
struct Sheet {
    press: Arc<Press>,
    data: Bytes,
}

impl World for Sheet {
    fn library(&self) -> &LazyHash<Library> {
        &self.press.library
    }

    fn book(&self) -> &LazyHash<FontBook> {
        &self.press.book
    }

    fn main(&self) -> FileId {
        self.press.template.id()
    }

    fn source(&self, id: FileId) -> FileResult<Source> {
        if id == self.press.template.id() {
            Ok(self.press.template.clone())
        } else {
            Err(FileError::AccessDenied)
        }
    }

    fn file(&self, id: FileId) -> FileResult<Bytes> {
        if id == self.press.data {
            Ok(self.data.clone())
        } else {
            Err(FileError::AccessDenied)
        }
    }

    fn font(&self, index: usize) -> Option<Font> {
        self.press.fonts.get(index).cloned()
    }

    fn today(&self, _offset: Option<Duration>) -> Option<Datetime> {
        None
    }
}
