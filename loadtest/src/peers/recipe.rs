//! How each server is set up: its configuration, written from a template, and its command line.
//!
//! What they share: one worker, no logs of requests, connections that are kept for ever, TLS 1.3 with AES-128-GCM, and room in
//! memory for all of the content. What is not said is each one's default.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use super::kind::Kind;
use super::process::Start;
use super::stage::{REGISTRY, REPOSITORY, Stage};

/// A process to start, and where it answers.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) start: Start,
    /// What comes before `sha256:<hex>` in URLs.
    pub(super) plain: Option<String>,
    pub(super) tls: Option<String>,
}

/// Where recipes are written.
pub(super) struct Kitchen<'a> {
    pub(super) kind: Kind,
    pub(super) program: &'a Path,
    pub(super) stage: &'a Stage,
}

impl Kitchen<'_> {
    pub(super) fn dataproxy(&self) -> io::Result<Vec<Recipe>> {
        let folder = self.folder("dataproxy")?;
        let [plain, tls, admin] = free_ports()?;
        let values = [
            ("plain", plain.to_string()),
            ("tls", tls.to_string()),
            ("admin", admin.to_string()),
            ("account", self.stage.account().display().to_string()),
        ];
        self.write(&folder.join("node.toml"), include_str!("config/dataproxy.toml"), &values)?;
        self.write(&folder.join("bindings.json"), include_str!("config/bindings.json"), &values)?;
        let arguments = ["serve", "--config", "node.toml"].map(str::to_owned).to_vec();
        Ok(vec![self.recipe(folder, arguments, Some(plain), Some(tls), true)])
    }

    pub(super) fn nginx(&self, name: &str) -> io::Result<Vec<Recipe>> {
        let folder = self.folder(name)?;
        let [plain, tls] = free_ports()?;
        // As root it would serve as nobody, who may not read here; else it serves as whoever runs it.
        let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
        let values = [
            ("plain", plain.to_string()),
            ("tls", tls.to_string()),
            ("user", user.to_owned()),
            ("folder", folder.display().to_string()),
            ("www", self.stage.www().display().to_string()),
        ];
        let path = folder.join("nginx.conf");
        self.write(&path, include_str!("config/nginx.conf"), &values)?;
        let log = folder.join("error.log").display().to_string();
        let arguments = vec!["-c".to_owned(), path.display().to_string(), "-e".to_owned(), log];
        Ok(vec![self.recipe(folder, arguments, Some(plain), Some(tls), true)])
    }

    pub(super) fn varnish(&self, origin: u16) -> io::Result<Vec<Recipe>> {
        let folder = self.folder("varnish")?;
        let [plain] = free_ports()?;
        let vcl = folder.join("peer.vcl");
        self.write(&vcl, include_str!("config/varnish.vcl"), &[("origin", origin.to_string())])?;
        let arguments = format!(
            "-F -j none -n {}/vsm -a 127.0.0.1:{plain} -T none -f {} -s malloc,5G -p thread_pool_max=2500",
            folder.display(),
            vcl.display()
        );
        let arguments = arguments.split(' ').map(str::to_owned).collect();
        // Debian's has no TLS.
        Ok(vec![self.recipe(folder, arguments, Some(plain), None, true)])
    }

    pub(super) fn traffic_server(&self, origin: u16) -> io::Result<Vec<Recipe>> {
        let folder = self.folder("trafficserver")?;
        let [plain, tls] = free_ports()?;
        for name in ["etc", "cache", "logs", "run"] {
            fs::create_dir_all(folder.join(name))?;
        }
        let values = [
            ("plain", plain.to_string()),
            ("tls", tls.to_string()),
            ("folder", folder.display().to_string()),
            ("tls-folder", self.stage.tls_folder().display().to_string()),
        ];
        let etc = folder.join("etc");
        self.write(&etc.join("records.config"), include_str!("config/records.config"), &values)?;
        self.write(&folder.join("runroot.yaml"), include_str!("config/runroot.yaml"), &values)?;
        fs::write(etc.join("storage.config"), format!("{} 6G\n", folder.join("cache").display()))?;
        fs::write(etc.join("remap.config"), format!("map / http://127.0.0.1:{origin}/\n"))?;
        fs::write(etc.join("cache.config"), "dest_domain=. ttl-in-cache=1d\n")?;
        let certificate = "dest_ip=* ssl_cert_name=cert.pem ssl_key_name=key.pem\n";
        fs::write(etc.join("ssl_multicert.config"), certificate)?;
        // What its package brings and it insists on.
        for name in [
            "ip_allow.yaml",
            "logging.yaml",
            "sni.yaml",
            "parent.config",
            "volume.config",
            "hosting.config",
            "plugin.config",
            "socks.config",
            "splitdns.config",
            "strategies.yaml",
        ] {
            let from = Path::new("/etc/trafficserver").join(name);
            if from.is_file() {
                fs::copy(from, etc.join(name))?;
            }
        }
        let arguments = vec![format!("--run-root={}", folder.join("runroot.yaml").display())];
        Ok(vec![self.recipe(folder, arguments, Some(plain), Some(tls), true)])
    }

    /// It has one listener, so that each scheme is a process of its own.
    pub(super) fn docker_registry(&self) -> io::Result<Vec<Recipe>> {
        let (certificate, key) = (self.stage.certificate(), self.stage.key());
        let tls = format!("  tls:\n    certificate: {}\n    key: {}", certificate.display(), key.display());
        let mut recipes = Vec::new();
        for (name, tls) in [("docker-registry", ""), ("docker-registry-tls", tls.as_str())] {
            let folder = self.folder(name)?;
            let [port] = free_ports()?;
            let values = [
                ("port", port.to_string()),
                ("tls", tls.to_owned()),
                ("container", self.stage.container().display().to_string()),
            ];
            let path = folder.join("config.yml");
            self.write(&path, include_str!("config/docker-registry.yml"), &values)?;
            let arguments = vec!["serve".to_owned(), path.display().to_string()];
            let (plain, tls) = if tls.is_empty() { (Some(port), None) } else { (None, Some(port)) };
            recipes.push(self.recipe(folder, arguments, plain, tls, false));
        }
        Ok(recipes)
    }

    fn folder(&self, name: &str) -> io::Result<PathBuf> {
        let folder = self.stage.folder().join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    fn write(&self, path: &Path, template: &str, values: &[(&str, String)]) -> io::Result<()> {
        let mut all = vec![
            ("certificate", self.stage.certificate().display().to_string()),
            ("key", self.stage.key().display().to_string()),
        ];
        all.extend(values.iter().cloned());
        fs::write(path, fill(template, &all))
    }

    fn recipe(
        &self,
        folder: PathBuf,
        arguments: Vec<String>,
        plain: Option<u16>,
        tls: Option<u16>,
        registry_in_path: bool,
    ) -> Recipe {
        let repository =
            if registry_in_path { format!("{REGISTRY}/{REPOSITORY}") } else { REPOSITORY.to_owned() };
        let url = |scheme: &str, port: u16| format!("{scheme}://127.0.0.1:{port}/v2/{repository}/blobs/");
        let start = Start {
            name: self.kind.as_str().to_owned(),
            program: self.program.to_owned(),
            arguments,
            folder,
            ports: plain.into_iter().chain(tls).collect(),
        };
        Recipe { start, plain: plain.map(|port| url("http", port)), tls: tls.map(|port| url("https", port)) }
    }
}

fn fill(template: &str, values: &[(&str, String)]) -> String {
    values
        .iter()
        .fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{{{name}}}}}"), value))
}

/// Ports of loopback that nobody has. Somebody may take one before its server does, which then says so.
fn free_ports<const COUNT: usize>() -> io::Result<[u16; COUNT]> {
    let mut held = Vec::with_capacity(COUNT);
    let mut ports = [0; COUNT];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_configuration_is_filled_in_wholly() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let stage = Stage::at(dir.path());
        for kind in Kind::ALL {
            let recipes = kind.recipes(Path::new("/bin/false"), &stage, Some(4711)).expect("written");
            assert!(recipes.iter().any(|recipe| recipe.plain.is_some()), "{kind:?}");
            for recipe in recipes {
                assert!(recipe.start.ports.iter().all(|port| *port != 0));
                let mut todo = vec![recipe.start.folder];
                while let Some(folder) = todo.pop() {
                    for entry in fs::read_dir(folder).expect("a folder") {
                        let path = entry.expect("an entry").path();
                        if path.is_dir() {
                            todo.push(path);
                        } else {
                            let text = fs::read_to_string(&path).expect("text");
                            assert!(!text.contains("{{"), "{}: {text}", path.display());
                        }
                    }
                }
            }
        }
    }
}
