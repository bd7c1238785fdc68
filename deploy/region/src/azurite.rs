//! The storage accounts as Azure Blob: Azurite, the emulator that Azure's own SDKs are tested with.
//!
//! One process holds every account of the region, each with a key of its own that is made once and kept in the
//! region's folder. The folders `accounts/…` stay what imports write; `publish` copies them here.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use dataproxy_azure::{Account, Credential, Endpoint, SecretSource, Settings, Transports};
use dataproxy_router_api::AccountName;
use rand::distr::{Alphanumeric, SampleString};
use tokio::process::Command;

use crate::data::Data;
use crate::error::RegionError;
use crate::topology::AZURITE_PORT;

const PROGRAM: &str = "azurite-blob";
/// Characters of an account's key: 66 bytes in base64, where Azure's own have 64.
const KEY_CHARACTERS: usize = 88;

/// Azurite, as this region runs it.
#[derive(Clone, Debug)]
pub(crate) struct Azurite {
    pub(crate) address: SocketAddr,
    accounts: Vec<AccountName>,
}

impl Azurite {
    /// Azurite for these accounts, at its own port moved by `offset`.
    pub(crate) fn new(offset: u16, accounts: &[AccountName]) -> Self {
        let address = (Ipv4Addr::LOCALHOST, AZURITE_PORT.saturating_add(offset)).into();
        Self { address, accounts: accounts.to_vec() }
    }

    /// Azurite that was started before, to put content into.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self { address, accounts: Vec::new() }
    }

    /// Where an account is.
    pub(crate) fn endpoint(&self, account: &AccountName) -> String {
        format!("http://{}/{account}", self.address)
    }

    /// An account, to put content into.
    pub(crate) fn open(&self, data: &Data, account: &AccountName) -> Result<Account, RegionError> {
        let unusable = |what: String| RegionError::Storage { account: account.to_string(), what };
        let endpoint =
            Endpoint::at_url(&self.endpoint(account), None).map_err(|error| unusable(error.to_string()))?;
        let credential = Credential::SharedKey(SecretSource::File(data.account_key(account)));
        let settings = Settings { endpoint, credential, ca_file: None };
        Account::open(&settings, &mut Transports::default()).map_err(|error| unusable(error.to_string()))
    }

    /// Makes the keys that are not there yet. Others cannot read them.
    pub(crate) fn make_keys(&self, data: &Data) -> Result<(), RegionError> {
        for account in &self.accounts {
            let path = data.account_key(account);
            if path.exists() {
                continue;
            }
            make_secret(&path, &random_key())?;
        }
        Ok(())
    }

    /// The command that runs it. It ends with the region, even by a kill that nobody catches: `setpriv` (util-linux)
    /// has the system see to that.
    pub(crate) fn command(&self, data: &Data) -> Result<Command, RegionError> {
        let keys = self.accounts.iter().map(|account| {
            let path = data.account_key(account);
            let key = fs::read_to_string(&path).map_err(|error| RegionError::file(&path, error))?;
            Ok(format!("{account}:{}", key.trim()))
        });
        let keys = keys.collect::<Result<Vec<_>, RegionError>>()?;
        let folder = data.azurite();
        fs::create_dir_all(&folder).map_err(|error| RegionError::file(&folder, error))?;
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "TERM", "--"])
            .arg(program()?)
            .args(["--disableTelemetry", "--silent", "--skipApiVersionCheck"])
            .args([
                "--blobHost",
                &self.address.ip().to_string(),
                "--blobPort",
                &self.address.port().to_string(),
            ])
            .arg("--location")
            .arg(folder)
            .env("AZURITE_ACCOUNTS", keys.join(";"))
            .stdin(Stdio::null());
        Ok(command)
    }
}

/// Finds Azurite before anything is started.
pub(crate) fn program() -> Result<PathBuf, RegionError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(PROGRAM));
    found.find(|file| file.is_file()).ok_or(RegionError::NoAzurite)
}

/// Writes a new file that only its owner may read.
pub(crate) fn make_secret(path: &Path, secret: &str) -> Result<(), RegionError> {
    let failed = |error| RegionError::file(path, error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut options = fs::File::options();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(secret.as_bytes()).map_err(failed)
}

/// Letters and digits are all of base64's alphabet but two, and need no padding at this length.
pub(crate) fn random_key() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), KEY_CHARACTERS)
}
