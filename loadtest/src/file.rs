//! Files that commands read and write: JSON and TOML.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The system does not let it be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file's name.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The system does not let it be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file's name.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// It is not JSON of the expected form.
    #[error("{path}: {source}")]
    Json {
        /// The file's name.
        path: String,
        /// The first mistake.
        source: serde_json::Error,
    },
    /// It is not TOML of the expected form.
    #[error("{path}: {source}")]
    Toml {
        /// The file's name.
        path: String,
        /// The first mistake.
        source: Box<toml::de::Error>,
    },
    /// A later version wrote it.
    #[error("{path} has format {format}; this tool reads up to {newest}")]
    Format {
        /// The file's name.
        path: String,
        /// Its format.
        format: u32,
        /// The newest format that is read.
        newest: u32,
    },
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let bytes = std::fs::read(path).map_err(|source| FileError::Read {
        path: name(path),
        source,
    })?;
    serde_json::from_slice(&bytes).map_err(|source| FileError::Json {
        path: name(path),
        source,
    })
}

/// Reads a TOML file.
pub(crate) fn read_toml<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let text = std::fs::read_to_string(path).map_err(|source| FileError::Read {
        path: name(path),
        source,
    })?;
    toml::from_str(&text).map_err(|source| FileError::Toml {
        path: name(path),
        source: Box::new(source),
    })
}

/// Writes a JSON file.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    let json = serde_json::to_vec(value).map_err(|source| FileError::Json {
        path: name(path),
        source,
    })?;
    std::fs::write(path, json).map_err(|source| FileError::Write {
        path: name(path),
        source,
    })
}
