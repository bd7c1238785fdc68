//! The servers that are compared: how each is found and started.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::PeersError;
use super::process::Start;
use super::stage::{REGISTRY, REPOSITORY, Stage};

/// A server that can be compared.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// This project's proxy, over a local account, from its memory tier.
    Dataproxy,
    /// nginx with files and sendfile: the practical limit of plain HTTP.
    Nginx,
    /// Varnish over nginx, from memory.
    Varnish,
    /// Apache Traffic Server over nginx, from memory.
    #[value(name = "trafficserver")]
    #[serde(rename = "trafficserver")]
    TrafficServer,
    /// The CNCF distribution over a folder.
    DockerRegistry,
}

/// A process to start, and where it answers.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) start: Start,
    /// What comes before `sha256:<hex>` in URLs.
    pub(super) plain: Option<String>,
    pub(super) tls: Option<String>,
}

impl Kind {
    /// Every one, in the order of the report.
    pub const ALL: [Self; 5] =
        [Self::Dataproxy, Self::Nginx, Self::Varnish, Self::TrafficServer, Self::DockerRegistry];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dataproxy => "dataproxy",
            Self::Nginx => "nginx",
            Self::Varnish => "varnish",
            Self::TrafficServer => "trafficserver",
            Self::DockerRegistry => "docker-registry",
        }
    }

    /// What brings it: a Debian package, or a build.
    pub fn comes_by(self) -> &'static str {
        match self {
            Self::Dataproxy => "cargo build --release -p dataproxy, or --dataproxy PATH",
            Self::Nginx => "apt-get install nginx-light",
            Self::Varnish => "apt-get install varnish",
            Self::TrafficServer => "apt-get install trafficserver",
            Self::DockerRegistry => "apt-get install docker-registry",
        }
    }

    /// Whether it fetches what it serves from an origin.
    pub(super) fn wants_origin(self) -> bool {
        matches!(self, Self::Varnish | Self::TrafficServer)
    }

    /// Its program, or nothing if it is not installed.
    pub(super) fn program(self, dataproxy: &Path) -> Option<PathBuf> {
        let name = match self {
            Self::Dataproxy => return dataproxy.is_file().then(|| dataproxy.to_owned()),
            Self::Nginx => "nginx",
            Self::Varnish => "varnishd",
            Self::TrafficServer => "traffic_server",
            Self::DockerRegistry => "docker-registry",
        };
        installed(name)
    }

    /// Writes its configuration and says how it is started: one process, or one for each scheme.
    ///
    /// # Errors
    /// If files cannot be written or no ports are free.
    pub(super) fn recipes(
        self,
        program: &Path,
        stage: &Stage,
        origin: Option<u16>,
    ) -> Result<Vec<Recipe>, PeersError> {
        let failed = |error: io::Error| PeersError::Start {
            name: self.as_str().to_owned(),
            problem: format!("it cannot be set up: {error}"),
        };
        let kitchen = Kitchen { kind: self, program, stage };
        match self {
            Self::Dataproxy => kitchen.dataproxy(),
            Self::Nginx => kitchen.nginx("nginx"),
            Self::Varnish => kitchen.varnish(origin.unwrap_or_default()),
            Self::TrafficServer => kitchen.traffic_server(origin.unwrap_or_default()),
            Self::DockerRegistry => kitchen.docker_registry(),
        }
        .map_err(failed)
    }

    /// The origin of those that want one: nginx, by itself.
    ///
    /// # Errors
    /// As [`Kind::recipes`].
    pub(super) fn origin(program: &Path, stage: &Stage) -> Result<(Start, u16), PeersError> {
        let kitchen = Kitchen { kind: Self::Nginx, program, stage };
        let failed = |problem: String| PeersError::Start { name: "the origin".to_owned(), problem };
        let recipes = kitchen.nginx("origin").map_err(|error| failed(error.to_string()))?;
        let recipe = recipes.into_iter().next().ok_or_else(|| failed("it has no recipe".to_owned()))?;
        let port = recipe.start.ports.first().copied().unwrap_or_default();
        Ok((recipe.start, port))
    }
}

struct Kitchen<'a> {
    kind: Kind,
    program: &'a Path,
    stage: &'a Stage,
}

impl Kitchen<'_> {
    fn dataproxy(&self) -> io::Result<Vec<Recipe>> {
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

    fn nginx(&self, name: &str) -> io::Result<Vec<Recipe>> {
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

    fn varnish(&self, origin: u16) -> io::Result<Vec<Recipe>> {
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

    fn traffic_server(&self, origin: u16) -> io::Result<Vec<Recipe>> {
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
    fn docker_registry(&self) -> io::Result<Vec<Recipe>> {
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

/// A program of `PATH`, or of the folders of daemons, which `PATH` often leaves out.
fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/bin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
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

    #[test]
    fn a_program_that_is_not_installed_is_not_found() {
        assert!(installed("sh").is_some());
        assert_eq!(installed("no-such-program-as-this"), None);
        assert_eq!(Kind::Dataproxy.program(Path::new("/no/such/dataproxy")), None);
    }
}
