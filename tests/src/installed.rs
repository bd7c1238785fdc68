//! The clients that people use, each as a release of Debian installs it.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use crate::access::Access;
use crate::client::ARCHITECTURE;
use crate::containerd::Containerd;
use crate::dockerd::Dockerd;
use crate::image::Image;
use crate::podman::Podman;
use crate::run::{Failed, Ran};
use crate::sha256sum;
use crate::skopeo;
use crate::system::{Release, System};

/// A program that pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// dockerd with its own image store.
    Docker,
    /// dockerd with containerd's image store.
    DockerOnContainerd,
    /// containerd, by `ctr`.
    Containerd,
    /// podman.
    Podman,
    /// skopeo.
    Skopeo,
}

/// A program of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Installed {
    /// What pulls.
    pub program: Program,
    /// Where it is from.
    pub release: Release,
    /// The version it has there, as far as the release fixes it.
    pub version: &'static str,
}

const fn installed(program: Program, release: Release, version: &'static str) -> Installed {
    Installed { program, release, version }
}

/// dockerd of Debian 12.
pub const DOCKER_20: Installed = installed(Program::Docker, Release::Debian12, "20.10");
/// dockerd of Debian 13.
pub const DOCKER_26: Installed = installed(Program::Docker, Release::Debian13, "26.1");
/// dockerd of Debian 13 with containerd's image store.
pub const DOCKER_26_ON_CONTAINERD: Installed =
    installed(Program::DockerOnContainerd, Release::Debian13, "26.1");
/// containerd of Debian 12.
pub const CONTAINERD_1_6: Installed = installed(Program::Containerd, Release::Debian12, "1.6");
/// containerd of Debian 13.
pub const CONTAINERD_1_7: Installed = installed(Program::Containerd, Release::Debian13, "1.7");
/// podman of Debian 12.
pub const PODMAN_4: Installed = installed(Program::Podman, Release::Debian12, "4.3");
/// podman of Debian 13.
pub const PODMAN_5: Installed = installed(Program::Podman, Release::Debian13, "5.4");
/// skopeo of Debian 12.
pub const SKOPEO_1_9: Installed = installed(Program::Skopeo, Release::Debian12, "1.9");
/// skopeo of Debian 13.
pub const SKOPEO_1_18: Installed = installed(Program::Skopeo, Release::Debian13, "1.18");

/// All of them.
pub const ALL: [Installed; 9] = [
    DOCKER_20,
    DOCKER_26,
    DOCKER_26_ON_CONTAINERD,
    CONTAINERD_1_6,
    CONTAINERD_1_7,
    PODMAN_4,
    PODMAN_5,
    SKOPEO_1_9,
    SKOPEO_1_18,
];

/// What a client sees that its machine does not have.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Its `/etc/hosts`.
    pub hosts: std::path::PathBuf,
    /// Its `/etc/containers/registries.conf`.
    pub registries_conf: std::path::PathBuf,
    /// URLs of its daemon's mirrors of Docker Hub.
    pub hub_mirrors: Vec<String>,
}

impl Installed {
    /// Its name in tables.
    pub fn name(&self) -> String {
        let (name, more) = match self.program {
            Program::Docker => ("docker", ""),
            Program::DockerOnContainerd => ("docker", ", containerd image store"),
            Program::Containerd => ("containerd", ""),
            Program::Podman => ("podman", ""),
            Program::Skopeo => ("skopeo", ""),
        };
        format!("{name} {}{more}", self.version)
    }

    /// Starts it with nothing pulled yet.
    ///
    /// # Panics
    /// If it does not start, or is of another version than its release has.
    pub async fn start(&self, around: &Surroundings) -> Running {
        let system = System::of(self.release).await.showing(&around.hosts, "/etc/hosts");
        let settings = json!({
            "features": { "containerd-snapshotter": self.program == Program::DockerOnContainerd },
            "registry-mirrors": around.hub_mirrors,
        });
        let settings = settings.to_string();
        let conf = "/etc/containers/registries.conf";
        let running = match self.program {
            Program::Docker => Running::Docker(Dockerd::start_on(system, &settings).await),
            Program::DockerOnContainerd => {
                Running::DockerOnContainerd(Dockerd::start_on(system, &settings).await)
            }
            Program::Containerd => Running::Containerd(Containerd::start_on(system).await),
            Program::Podman => Running::Podman(Podman::on(system.showing(&around.registries_conf, conf))),
            Program::Skopeo => Running::Skopeo {
                dir: TempDir::with_prefix("skopeo.").expect("a folder can be made"),
                system: system.showing(&around.registries_conf, conf),
            },
        };
        let version = running.version().await;
        assert!(version.starts_with(self.version), "{} is of version {version}", self.name());
        running
    }

    /// The blobs of `image` that it fetches, in bytes.
    pub fn wanted_bytes(&self, image: &Image) -> u64 {
        match self.program {
            Program::Skopeo => image.blobs.values().sum(),
            _ => image.platform(ARCHITECTURE).blobs.values().sum(),
        }
    }
}

/// A client that has been started.
#[derive(Debug)]
pub enum Running {
    /// dockerd with its own image store.
    Docker(Dockerd),
    /// dockerd with containerd's image store.
    DockerOnContainerd(Dockerd),
    /// containerd.
    Containerd(Containerd),
    /// podman.
    Podman(Podman),
    /// skopeo, which pulls into a folder.
    Skopeo {
        /// What holds the folder.
        dir: TempDir,
        /// Where the program lies.
        system: System,
    },
}

impl Running {
    /// Its version in full.
    ///
    /// # Panics
    /// If it does not tell.
    pub async fn version(&self) -> String {
        let told = match self {
            Self::Docker(docker) | Self::DockerOnContainerd(docker) => {
                docker.docker(&["version", "--format={{.Server.Version}}"]).await
            }
            Self::Containerd(containerd) => containerd.ctr(&["version"]).await,
            Self::Podman(podman) => podman.podman(&["--version"]).await,
            Self::Skopeo { system, .. } => {
                system.run("/usr/bin/skopeo", &["--version"], Duration::from_secs(30)).await
            }
        };
        let told = told.unwrap_or_else(|failed| panic!("{failed}")).stdout;
        // The first word that begins with a digit; `ctr` tells of the client first, which is of the same package.
        let version = told.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        version.unwrap_or_else(|| panic!("{told:?} tells no version")).to_owned()
    }

    /// Pulls an image.
    ///
    /// # Errors
    /// [`Failed`] if that does not succeed within 150 s.
    pub async fn pull(&self, image: &str, access: &Access) -> Result<Ran, Failed> {
        match self {
            // It is told nothing: it trusts whoever it finds in 127.0.0.0/8.
            Self::Docker(docker) | Self::DockerOnContainerd(docker) => docker.try_pull(image).await,
            Self::Containerd(containerd) => containerd.try_pull(image, access).await,
            Self::Podman(podman) => podman.pull(image, access).await,
            Self::Skopeo { dir, system } => {
                let options = access.options("src-");
                let mut all = vec!["--all"];
                all.extend(options.iter().map(String::as_str));
                let to = format!("dir:{}", folder(dir.path()).display());
                skopeo::copy_on(system, &all, &format!("docker://{image}"), &to).await
            }
        }
    }

    /// Finds all of `image` for this platform in what it has pulled by the name `name`, each layer hashed by `sha256sum`.
    ///
    /// # Panics
    /// If something is missing or wrong.
    pub async fn check(&self, name: &str, image: &Image) {
        let platform = image.platform(ARCHITECTURE);
        let content = match self {
            Self::Docker(docker) => {
                let ids = docker.image_ids().await;
                let [id] = ids.as_slice() else { panic!("one image was pulled, and there are {ids:?}") };
                assert_eq!(docker.saved_layers(id).await, platform.diff_ids);
                return;
            }
            Self::Podman(podman) => {
                assert_eq!(podman.saved_layers(name).await, platform.diff_ids);
                return;
            }
            Self::DockerOnContainerd(docker) => docker.check_content().await,
            Self::Containerd(containerd) => containerd.check_content().await,
            Self::Skopeo { dir, .. } => {
                // It was asked for every platform.
                let content = sha256sum::check_named_by_digest(&folder(dir.path())).await;
                assert_eq!(content, image.blobs);
                return;
            }
        };
        for (digest, size) in &platform.blobs {
            assert_eq!(content.get(digest), Some(size), "{digest} among {content:?}");
        }
    }

    /// Forgets all that it pulled, so that the next pull is its first.
    ///
    /// # Panics
    /// If something is left.
    pub async fn forget(&self) {
        match self {
            Self::Docker(docker) | Self::DockerOnContainerd(docker) => docker.forget().await,
            Self::Containerd(containerd) => containerd.forget().await,
            Self::Podman(podman) => podman.forget().await,
            Self::Skopeo { dir, .. } => {
                let folder = folder(dir.path());
                if folder.exists() {
                    std::fs::remove_dir_all(folder).expect("the folder can be removed");
                }
            }
        }
    }
}

fn folder(dir: &Path) -> std::path::PathBuf {
    dir.join("image")
}
