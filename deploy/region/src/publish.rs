//! Copies what imports and seeds have written into the accounts that Azurite holds.
//!
//! In the order that a reader needs: contents, then the links that say whose they are, then the tags. So whatever a
//! pull finds leads to something that is there, also while this runs.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dataproxy_azure::Account;
use dataproxy_cache::{ObjectName, Origin, OriginErrorKind};
use dataproxy_router_api::{AccountName, Binding, Location};

use crate::azurite::Azurite;
use crate::data::Data;
use crate::error::RegionError;

/// A link is as long as a digest's name at most.
const LINK_MAX: u64 = 4096;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Published {
    /// Objects that were put.
    pub(crate) objects: u64,
    /// Their size.
    pub(crate) bytes: u64,
}

/// Copies a registry's folder to every place of its placement; objects that are there already are left alone.
pub(crate) async fn publish(
    data: &Data,
    azurite: &Azurite,
    binding: &Binding,
) -> Result<Published, RegionError> {
    let folder = data.container(binding);
    let files = files(&folder)?;
    let mut done = Published::default();
    for place in binding.placement.locations() {
        let account = azurite.open(data, &place.account)?;
        account.create_container(&place.container).await.map_err(|error| failed(&place.account, &error))?;
        for file in &files {
            let object = name(&place, file.strip_prefix(&folder).unwrap_or(file));
            let size = fs::metadata(file).map_err(|error| RegionError::file(file, error))?.len();
            if is_there(&place.account, &account, &object, file, size).await? {
                continue;
            }
            account.put_file(&object, file).await.map_err(|error| failed(&place.account, &error))?;
            done.objects += 1;
            done.bytes += size;
        }
    }
    Ok(done)
}

/// What a file of a registry's folder is called at a place, which is what nodes look for there.
fn name(place: &Location, below: &Path) -> ObjectName {
    ObjectName::new(format!("{}/{}{}", place.container, place.prefix, below.display()))
}

fn failed(account: &AccountName, error: &dyn std::fmt::Display) -> RegionError {
    RegionError::Storage { account: account.to_string(), what: error.to_string() }
}

/// Contents are named by their digest, so their size tells enough; links are compared.
async fn is_there(
    name: &AccountName,
    account: &Account,
    object: &ObjectName,
    file: &Path,
    size: u64,
) -> Result<bool, RegionError> {
    let is_link = object.as_str().ends_with("/link") && size <= LINK_MAX;
    let wanted = if is_link { size.max(1) } else { 1 };
    let read = match account.get(object, 0..wanted, None).await {
        Ok(read) => read,
        Err(error) if error.kind == OriginErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(name, &error)),
    };
    if read.size != size || !is_link {
        return Ok(read.size == size);
    }
    let pieces: Vec<Bytes> = futures_util::TryStreamExt::try_collect(read.body)
        .await
        .map_err(|error: dataproxy_cache::OriginError| failed(name, &error))?;
    let here = fs::read(file).map_err(|error| RegionError::file(file, error))?;
    Ok(pieces.concat() == here)
}

/// Every file of a registry, in the order in which they may be shown.
fn files(folder: &Path) -> Result<Vec<PathBuf>, RegionError> {
    let mut found = Vec::new();
    let mut folders = vec![folder.join("docker/registry/v2")];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(RegionError::file(&folder, error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| RegionError::file(&folder, error))?;
            let kind = entry.file_type().map_err(|error| RegionError::file(&entry.path(), error))?;
            match kind {
                kind if kind.is_dir() => folders.push(entry.path()),
                // What is still being written has another name.
                kind if kind.is_file() && is_content(&entry.path()) => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort_by_key(|file| (rank(file), file.clone()));
    Ok(found)
}

fn is_content(file: &Path) -> bool {
    matches!(file.file_name().and_then(|name| name.to_str()), Some("data" | "link"))
}

fn rank(file: &Path) -> u8 {
    let text = file.to_string_lossy();
    match () {
        () if text.ends_with("/data") => 0,
        () if text.contains("/_manifests/tags/") && text.contains("/current/") => 3,
        () if text.contains("/_manifests/tags/") => 2,
        () => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_name_that_nodes_look_for() {
        for (prefix, object) in [
            ("", "c/docker/x"),
            ("/", "c//docker/x"),
            ("team/", "c/team/docker/x"),
            ("/team/", "c//team/docker/x"),
        ] {
            let place = Location {
                account: "a1".parse().expect("a name"),
                container: "c".to_owned(),
                prefix: prefix.parse().expect("a prefix"),
            };
            assert_eq!(name(&place, Path::new("docker/x")).as_str(), object);
        }
    }

    #[test]
    fn contents_come_before_links_and_links_before_tags() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("docker/registry/v2");
        let put = |name: &str| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
            fs::write(path, b"x").expect("written");
        };
        let order = [
            "blobs/sha256/aa/aa/data",
            "blobs/sha256/bb/bb/data",
            "repositories/app/_layers/sha256/aa/link",
            "repositories/app/_manifests/revisions/sha256/bb/link",
            "repositories/app/_manifests/tags/v1/index/sha256/bb/link",
            "repositories/app/_manifests/tags/v1/current/link",
        ];
        order.iter().rev().for_each(|name| put(name));
        put("blobs/sha256/cc/cc/data.part");
        let found = files(dir.path()).expect("readable");
        let found: Vec<_> = found.iter().map(|file| file.strip_prefix(&root).expect("below")).collect();
        assert_eq!(found, order.map(Path::new));
        assert_eq!(files(&dir.path().join("none")).expect("nothing is no error"), Vec::<PathBuf>::new());
    }
}
