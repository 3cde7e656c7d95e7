//! The objects of a manifest, into a directory of the archive's own layout.

use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::fs::{self, File};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::Client;
use crate::error::{Doing, Error, Result};
use crate::terminal::bar::{Bar, Unit};
use crate::terminal::output;

/// Manifests that are asked for while URLs run out, or objects are replaced.
const MANIFESTS: usize = 5;
/// Bytes that are hashed at once.
const BLOCK: usize = 256 << 10;

#[derive(Deserialize)]
struct Manifest {
    bytes: u64,
    files: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    object_key: String,
    url: Option<String>,
    sha256: Option<String>,
    bytes: u64,
}

/// How an object went.
enum Fetched {
    Done,
    /// Its URL opens nothing any more.
    Gone,
}

/// Fetches what is not there yet, and writes the manifest beside it.
pub(super) async fn download(client: &Client, path: &str, dir: &Path) -> Result<()> {
    for _ in 0..MANIFESTS {
        let document = client.get(path).await?;
        let mut document = document.map_err(|problem| Error::new(problem.to_string()))?;
        let manifest: Manifest = serde_json::from_value(document.clone())
            .map_err(|error| Error::new(format!("the server's manifest is none: {error}")))?;
        let bar = Bar::new(Unit::Received, Some(manifest.bytes));
        let all = fetch_all(client, dir, &manifest, &bar).await;
        bar.finish();
        if let Fetched::Done = all? {
            return write_manifest(dir, &mut document, manifest.files.len()).await;
        }
    }
    Err(Error::new(
        "the objects are replaced faster than they are fetched; try again",
    ))
}

async fn fetch_all(client: &Client, dir: &Path, manifest: &Manifest, bar: &Bar) -> Result<Fetched> {
    for object in &manifest.files {
        let path = place(dir, &object.object_key)?;
        let digest = object.sha256.as_deref().unwrap_or_default();
        if is_there(&path, object.bytes, digest).await? {
            bar.add(object.bytes);
            continue;
        }
        if let Fetched::Gone = fetch(client, object, digest, &path, bar).await? {
            return Ok(Fetched::Gone);
        }
    }
    Ok(Fetched::Done)
}

/// Below the directory, whatever a server calls it.
fn place(dir: &Path, key: &str) -> Result<PathBuf> {
    let relative = Path::new(key);
    let plain = relative
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !plain || key.is_empty() {
        return Err(Error::new(format!("{key:?} is no key of an object")));
    }
    Ok(dir.join(relative))
}

async fn is_there(path: &Path, bytes: u64, digest: &str) -> Result<bool> {
    let looked = async {
        let length = match fs::metadata(path).await {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if length != bytes {
            return Ok(false);
        }
        let (mut file, mut hash) = (File::open(path).await?, Sha256::new());
        let mut block = vec![0; BLOCK];
        loop {
            let read = file.read(&mut block).await?;
            if read == 0 {
                return Ok(hex(&hash.finalize()) == digest);
            }
            hash.update(&block[..read]);
        }
    };
    looked.await.doing(|| format!("read {}", path.display()))
}

/// Into a file beside its place, which it takes when it is whole and right.
async fn fetch(
    client: &Client,
    object: &Object,
    digest: &str,
    path: &Path,
    bar: &Bar,
) -> Result<Fetched> {
    let Some(url) = &object.url else {
        return Err(Error::new(
            "the server's storage has no URLs: copy the objects by its own means",
        ));
    };
    let doing = || format!("write {}", path.display());
    let Some(mut answer) = client.fetch(url).await? else {
        return Ok(Fetched::Gone);
    };
    let part = path.with_extension("parquet.part");
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).await.doing(doing)?;
    }
    let (mut file, mut hash, mut bytes) =
        (File::create(&part).await.doing(doing)?, Sha256::new(), 0);
    while let Some(chunk) = super::next(&mut answer).await? {
        hash.update(&chunk);
        bytes += chunk.len() as u64;
        file.write_all(&chunk).await.doing(doing)?;
        bar.add(chunk.len() as u64);
    }
    file.sync_all().await.doing(doing)?;
    if bytes != object.bytes || hex(&hash.finalize()) != digest {
        fs::remove_file(&part).await.doing(doing)?;
        let sentence = format!(
            "{} is not what the manifest says: {bytes} bytes of {}, or another SHA-256",
            object.object_key, object.bytes
        );
        return Err(Error::new(sentence));
    }
    fs::rename(&part, path).await.doing(doing)?;
    Ok(Fetched::Done)
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Beside the objects: which of them belong together, and which rows in them are out of date. A URL
/// opens an object to whoever has it, so none is kept.
async fn write_manifest(dir: &Path, document: &mut Value, files: usize) -> Result<()> {
    for file in document["files"].as_array_mut().into_iter().flatten() {
        file["url"] = Value::Null;
    }
    let path = dir.join("manifest.json");
    let doing = || format!("write {}", path.display());
    fs::create_dir_all(dir).await.doing(doing)?;
    fs::write(&path, document.to_string()).await.doing(doing)?;
    output::note(&format!("{files} objects and {}", path.display()));
    Ok(())
}
