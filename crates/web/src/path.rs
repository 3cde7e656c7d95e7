//! Ids in paths.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use sheaf_model::plain_value;
use uuid::Uuid;

use crate::error::{Error, Noun};

/// The id in a path. One that cannot exist is not found, like any other that does not.
///
/// # Errors
/// [`Error::NotFound`].
pub fn id_in(path: Result<Path<String>, PathRejection>, noun: Noun) -> Result<Uuid, Error> {
    let Ok(Path(text)) = path else {
        return Err(Error::NotFound(noun));
    };
    parse_id(&text, noun)
}

/// The id that a part of a path spells.
///
/// # Errors
/// [`Error::NotFound`], since an id that cannot exist does not.
pub fn parse_id(text: &str, noun: Noun) -> Result<Uuid, Error> {
    // Only the hyphenated form: an id has one spelling.
    plain_value::uuid(text).map_err(|_| Error::NotFound(noun))
}
