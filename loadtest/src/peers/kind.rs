//! The servers that are compared: what each is called, what brings it, and where it is found.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::PeersError;
use super::process::Start;
use super::recipe::{Kitchen, Recipe};
use super::stage::Stage;

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

/// A program of `PATH`, or of the folders of daemons, which `PATH` often leaves out.
fn installed(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/bin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_installed_is_not_found() {
        assert!(installed("sh").is_some());
        assert_eq!(installed("no-such-program-as-this"), None);
        assert_eq!(Kind::Dataproxy.program(Path::new("/no/such/dataproxy")), None);
    }
}
