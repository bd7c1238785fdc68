//! Certificates for tests: an authority of its own for each.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// PEM files of an authority and of a server that it vouches for.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The authority's certificate, for the client.
    pub authority: PathBuf,
    /// The server's certificate.
    pub server: PathBuf,
    /// The server's key.
    pub key: PathBuf,
}

/// Makes a new authority and a certificate for these addresses and host names, as files in `dir`, which is made if absent.
///
/// # Panics
/// If that fails.
pub fn make(dir: &Path, names: &[impl ToString]) -> Certificate {
    std::fs::create_dir_all(dir).expect("a folder can be made");
    let authority_key = KeyPair::generate().expect("a key can be made");
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(DnType::CommonName, "authority of a test");
    let authority_certificate = authority.self_signed(&authority_key).expect("it can be signed");
    let issuer = Issuer::new(authority, authority_key);

    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let key = KeyPair::generate().expect("a key can be made");
    let server = CertificateParams::new(names).expect("they are names");
    let server = server.signed_by(&key, &issuer).expect("it can be signed");

    let write = |name: &str, text: String| {
        let path = dir.join(name);
        std::fs::write(&path, text).expect("a file can be written");
        path
    };
    Certificate {
        authority: write("ca.crt", authority_certificate.pem()),
        server: write("server.crt", server.pem()),
        key: write("server.key", key.serialize_pem()),
    }
}

impl Certificate {
    /// Puts certificate and key where a server reads them, each in one step; gives the two paths.
    ///
    /// # Panics
    /// If that fails.
    pub fn put_into(&self, dir: &Path) -> (PathBuf, PathBuf) {
        std::fs::create_dir_all(dir).expect("a folder can be made");
        let put = |from: &Path, name: &str| {
            let (new, path) = (dir.join(format!("{name}.new")), dir.join(name));
            std::fs::copy(from, &new).expect("a file can be copied");
            std::fs::rename(&new, &path).expect("a file can be moved");
            path
        };
        // A server that reads in between sees a pair that does not fit, and keeps the one it has.
        let key = put(&self.key, "served.key");
        (put(&self.server, "served.crt"), key)
    }

    /// Adds the authority to a folder of those that a client trusts.
    ///
    /// # Panics
    /// If that fails.
    pub fn trust_in(&self, dir: &Path, name: &str) {
        std::fs::create_dir_all(dir).expect("a folder can be made");
        std::fs::copy(&self.authority, dir.join(format!("{name}.crt"))).expect("a file can be copied");
    }
}
