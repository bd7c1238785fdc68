//! The file: two tables of redb. One transaction for each commit, synced before it ends.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::{
    Builder, Database, DatabaseError, ReadableDatabase, ReadableTable, TableDefinition, TableError,
    TableHandle, WriteTransaction,
};

use super::super::state::State;
use super::super::{Changes, Entry, Key, KeyChange, LeaseId, Revision};
use super::OpenError;

/// What is in the tables, and what it means. A change of either is another format.
const FORMAT: u64 = 1;
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// By key: version, lease or 0, value.
const ENTRIES: TableDefinition<'_, &str, (u64, u64, &[u8])> = TableDefinition::new("entries");

/// The state is in memory besides: redb's own cache serves the tree's inner pages.
const CACHE_BYTES: usize = 16 << 20;

/// The open file.
#[derive(Debug)]
pub(super) struct DataFile {
    path: PathBuf,
    /// Absent after a failed write, until it can be opened again.
    database: Option<Database>,
}

impl DataFile {
    /// Opens the file, checks every page of it and mends what a crash left; or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let found = std::fs::metadata(path).map(|found| found.len());
        let database = open(path)?;
        if matches!(found, Err(_) | Ok(0)) {
            sync_folder(path).map_err(|error| OpenError::io(path, error))?;
        }
        let mut file = Self { path: path.to_owned(), database: Some(database) };
        file.check_format()?;
        Ok(file)
    }

    fn check_format(&mut self) -> Result<(), OpenError> {
        let path = self.path.clone();
        let database = self.database().map_err(|error| refused(&path, error.into()))?;
        match found(database).map_err(|error| refused(&path, error))? {
            Found::Format(FORMAT) => Ok(()),
            Found::Format(found) => Err(OpenError::Format { path, found, known: FORMAT }),
            Found::Nothing => make(database).map_err(|error| refused(&path, error)),
            Found::Other(reason) => Err(OpenError::Foreign { path, reason }),
        }
    }

    /// What the file holds, but for what was bound to leases: their holders are dead.
    pub(super) fn load(&mut self) -> Result<State, OpenError> {
        let path = self.path.clone();
        let (revision, mut entries) = self.read().map_err(|error| refused(&path, error))?;
        if let Some(entry) = entries.iter().find(|entry| entry.version > revision) {
            let reason =
                format!("{} has version {}, after the last revision, {revision}", entry.key, entry.version);
            return Err(OpenError::Corrupt { path, reason });
        }
        let bound: Vec<_> = entries
            .extract_if(.., |entry| entry.lease.is_some())
            .map(|entry| KeyChange::Deleted(entry.key))
            .collect();
        if bound.is_empty() {
            return Ok(State::new(revision, entries));
        }
        let ended = Changes { revision: Revision(revision.0 + 1), changes: bound };
        self.write(&ended).map_err(|error| refused(&path, error))?;
        Ok(State::new(ended.revision, entries))
    }

    fn read(&mut self) -> Result<(Revision, Vec<Entry>), redb::Error> {
        let begun = self.database()?.begin_read()?;
        let revision = begun.open_table(META)?.get("revision")?.map_or(0, |found| found.value());
        let mut entries = Vec::new();
        for row in begun.open_table(ENTRIES)?.iter()? {
            let (key, row) = row?;
            let (version, lease, value) = row.value();
            entries.push(Entry {
                key: Key::new(key.value()),
                value: Bytes::copy_from_slice(value),
                version: Revision(version),
                lease: (lease != 0).then_some(LeaseId(lease)),
            });
        }
        Ok((Revision(revision), entries))
    }

    /// Writes a batch and syncs it. After an error, [`DataFile::reopen`] tells whether it is there.
    pub(super) fn write(&mut self, batch: &Changes) -> Result<(), redb::Error> {
        let written = write(self.database()?, batch);
        if written.is_err() {
            // Redb does nothing more with a file after an error.
            self.database = None;
        }
        written
    }

    /// The revision of the file, opened anew.
    pub(super) fn reopen(&mut self) -> Result<Revision, redb::Error> {
        self.database = None;
        let begun = self.database()?.begin_read()?;
        let revision = begun.open_table(META)?.get("revision")?.map_or(0, |found| found.value());
        Ok(Revision(revision))
    }

    fn database(&mut self) -> Result<&mut Database, DatabaseError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => builder().open(&self.path)?,
        };
        Ok(self.database.insert(database))
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn open(path: &Path) -> Result<Database, OpenError> {
    builder().create(path).map_err(|error| refused(path, error.into()))
}

/// What an open file turns out to be.
enum Found {
    Format(u64),
    Nothing,
    Other(String),
}

fn found(database: &Database) -> Result<Found, redb::Error> {
    let begun = database.begin_read()?;
    match begun.open_table(META) {
        Ok(meta) => Ok(match meta.get("format")? {
            Some(format) => Found::Format(format.value()),
            None => Found::Other("it does not say its format".into()),
        }),
        Err(TableError::TableDoesNotExist(_)) => Ok(match begun.list_tables()?.next() {
            Some(table) => Found::Other(format!("it is a redb file with a table {:?}", table.name())),
            None => Found::Nothing,
        }),
        Err(TableError::Storage(error)) => Err(error.into()),
        Err(error) => Ok(Found::Other(error.to_string())),
    }
}

fn make(database: &Database) -> Result<(), redb::Error> {
    let begun = database.begin_write()?;
    begun.open_table(ENTRIES)?;
    let mut meta = begun.open_table(META)?;
    meta.insert("format", FORMAT)?;
    meta.insert("revision", 0)?;
    drop(meta);
    Ok(begun.commit()?)
}

fn write(database: &Database, batch: &Changes) -> Result<(), redb::Error> {
    let begun = database.begin_write()?;
    put(&begun, batch)?;
    // Synced: redb's `Durability::Immediate` is what it does unless told otherwise.
    Ok(begun.commit()?)
}

fn put(begun: &WriteTransaction, batch: &Changes) -> Result<(), redb::Error> {
    let mut entries = begun.open_table(ENTRIES)?;
    for change in &batch.changes {
        match change {
            KeyChange::Put(entry) => {
                let lease = entry.lease.map_or(0, |lease| lease.0);
                entries.insert(entry.key.as_str(), (entry.version.0, lease, &entry.value[..]))?;
            }
            KeyChange::Deleted(key) => {
                entries.remove(key.as_str())?;
            }
        }
    }
    begun.open_table(META)?.insert("revision", batch.revision.0)?;
    Ok(())
}

/// The name of a new file is in its folder, which is synced apart.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn refused(path: &Path, error: redb::Error) -> OpenError {
    let path = path.to_owned();
    match error {
        redb::Error::DatabaseAlreadyOpen => OpenError::Held { path, holder: "another process".into() },
        redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            OpenError::Foreign { path, reason: error.to_string() }
        }
        redb::Error::Io(error) => OpenError::Io { path, error },
        error => OpenError::Corrupt { path, reason: error.to_string() },
    }
}
