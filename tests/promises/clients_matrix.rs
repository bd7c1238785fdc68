//! Every client that people use pulls in every configuration, cold, warm and by digest, and gets every byte.
//!
//! What is seen has to be what `docs/clients.md` says; `UPDATE_DOCS=1` writes it there.

use std::time::Duration;

use dataproxy_tests::access::{Access, registries_conf};
use dataproxy_tests::certificate;
use dataproxy_tests::docker_registry::DockerRegistry;
use dataproxy_tests::image::{Image, TAG};
use dataproxy_tests::installed::{Installed, Program, Running, Surroundings};
use dataproxy_tests::node::{Options, Stamp, ZONE};
use dataproxy_tests::seen::{Moment, Seen};
use dataproxy_tests::storage::Container;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::every_client::{every_client, surroundings, table, tried};

/// The registry that is another one, pulled through.
const HUB: &str = "hub";
/// What a pull may read from storage beyond its blobs: manifests, links, and the block that a range ends in.
const BESIDES_BLOBS: u64 = 1 << 20;

every_client!(pulls_in_every_configuration);

/// A way to set a client up. Each has a registry of its own, as what one pulls is no longer cold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Configuration {
    /// By the front door's address, over plain HTTP: `127.0.1.0:5000/contoso/app:v1`.
    Plain,
    /// By the registry's own name in the zone, over TLS, where HTTP/2 is offered too.
    Tls,
    /// By the registry's own name, which leads nowhere, through a mirror.
    Mirror,
    /// Docker Hub's name, sent by the client to a mirror that pulls through another registry in the Hub's place:
    /// docker's `registry-mirrors`, containerd's `hosts.toml`, `registries.conf`.
    PullThrough,
}

impl Configuration {
    const ALL: [Self; 4] = [Self::Plain, Self::Tls, Self::Mirror, Self::PullThrough];

    fn registry(self) -> &'static str {
        match self {
            Self::Plain => "contoso",
            Self::Tls => "fabrikam",
            Self::Mirror => "tailspin",
            Self::PullThrough => HUB,
        }
    }

    /// Why a client has no such configuration, if it has none.
    fn lacks(self, client: Installed) -> Option<&'static str> {
        match (self, client.program) {
            // `registry-mirrors` are the Hub's alone: https://docs.docker.com/docker-hub/image-library/mirror/
            (Self::Mirror, Program::Docker | Program::DockerOnContainerd) => Some("n/a"),
            _ => None,
        }
    }
}

/// What a client pulls from: one stamp with one image in every registry, its front door, and its certificate.
struct Site {
    stamp: Stamp,
    image: Image,
    _upstream: DockerRegistry,
    dir: TempDir,
}

impl Site {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let name = format!("{}.{ZONE}", Configuration::Tls.registry());
        let certificate = certificate::make(&dir.path().join("tls"), &[name]);
        certificate.trust_in(&dir.path().join("authority"), "ca");
        let image = Image::small().await;
        let content = Container::new(dir.path().join("upstream"));
        content.put_image(&image, "team/app", TAG);
        let upstream = DockerRegistry::start(content.dir()).await;
        let binding = |configuration: Configuration, placement: Value| {
            let hosts: &[&str] =
                if configuration == Configuration::PullThrough { &["docker.io"] } else { &[] };
            json!({
                "registry": configuration.registry(), "home_stamp": "a", "epoch": 1, "pull": "anonymous",
                "hosts": hosts, "placement": placement,
            })
        };
        let mirrored = json!({ "account": "acct", "container": Configuration::Mirror.registry() });
        let stamp = Stamp::start_with(Options {
            certificate: Some((certificate.server, certificate.key)),
            http2: true,
            tenancy: format!("path = true\ndefault_registry = \"{HUB}\"\n"),
            more: format!("[accounts.{HUB}]\nkind = \"registry\"\nurl = \"http://{}\"\n", upstream.address()),
            bindings: vec![
                binding(Configuration::Mirror, mirrored),
                binding(Configuration::PullThrough, json!({ "account": HUB })),
            ],
            ..Options::default()
        })
        .await;
        for configuration in [Configuration::Plain, Configuration::Tls, Configuration::Mirror] {
            stamp.container(configuration.registry()).put_image(&image, "team/app", TAG);
        }
        Self { stamp, image, _upstream: upstream, dir }
    }

    fn surroundings(&self) -> Surroundings {
        let front = self.stamp.front.pull();
        let names = Configuration::ALL.map(|configuration| format!("{}.{ZONE}", configuration.registry()));
        let mut around = surroundings(self.dir.path(), &format!("{} {}\n", front.ip(), names.join(" ")));
        let mirrored = Configuration::Mirror.registry();
        let mirrors = [
            (format!("{mirrored}.{ZONE}"), format!("{front}/{mirrored}")),
            ("docker.io".to_owned(), format!("{front}/{HUB}")),
        ];
        registries_conf(&around.registries_conf, &mirrors);
        around.hub_mirrors.push(format!("http://{front}"));
        around
    }

    /// The repository's name, and the way to it.
    fn source(&self, configuration: Configuration) -> (String, Access) {
        let (front, registry) = (&self.stamp.front, configuration.registry());
        match configuration {
            Configuration::Plain => (format!("{}/{registry}/team/app", front.pull()), Access::Plain),
            Configuration::Tls => {
                let name = format!("{registry}.{ZONE}:{}/team/app", front.tls().port());
                (name, Access::Tls { authority: self.dir.path().join("authority") })
            }
            Configuration::Mirror => {
                let url = format!("http://{}", front.pull());
                (format!("{registry}.{ZONE}/team/app"), Access::Mirror { url })
            }
            Configuration::PullThrough => {
                let url = format!("http://{}", front.pull());
                ("docker.io/team/app".to_owned(), Access::Mirror { url })
            }
        }
    }
}

/// A cell that is green: the times of a cold and of a warm pull, and what the front door saw of the cold one.
struct Green {
    cold: Duration,
    warm: Duration,
    seen: Seen,
}

async fn cell(client: Installed, running: &Running, site: &Site, configuration: Configuration) -> Green {
    let (name, access) = site.source(configuration);
    let (stamp, image) = (&site.stamp, &site.image);
    let (by_tag, by_digest) = (format!("{name}:{TAG}"), format!("{name}@{}", image.digest));
    let wanted = client.wanted_bytes(image);
    let pull = async |image_name: &str| {
        let before = Moment::now(&stamp.front).await;
        let ran = running.pull(image_name, &access).await.unwrap_or_else(|failed| panic!("{failed}"));
        let seen = before.until(Moment::now(&stamp.front).await, &stamp.front);
        running.check(image_name, image).await;
        running.forget().await;
        (ran.took, seen)
    };

    let before = stamp.origin_bytes().await;
    let (cold, seen) = pull(&by_tag).await;
    let read = stamp.origin_bytes().await - before;
    assert!(
        (wanted..=wanted + BESIDES_BLOBS).contains(&read),
        "a cold pull of {wanted} bytes cost {read} bytes of storage"
    );
    let (warm, again) = pull(&by_tag).await;
    // dockerd's own puller may still have the manifests, which it clears away by and by.
    assert_eq!(again.blobs(), seen.blobs(), "the client had not forgotten all");
    let (_, _) = pull(&by_digest).await;
    let read_again = stamp.origin_bytes().await - before - read;
    assert!(read_again <= BESIDES_BLOBS, "two warm pulls cost {read_again} bytes of storage");
    Green { cold, warm, seen }
}

async fn pulls_in_every_configuration(client: Installed) {
    let site = Site::start().await;
    let running = client.start(&site.surroundings()).await;
    let mut verdicts = vec![client.name()];
    let mut measured = vec![client.name(), running.version().await];
    let mut greens = Vec::new();
    for configuration in Configuration::ALL {
        if let Some(why) = configuration.lacks(client) {
            verdicts.push(why.to_owned());
            measured.push("–".to_owned());
            continue;
        }
        match tried(cell(client, &running, &site, configuration)).await {
            Ok(green) => {
                verdicts.push("pass".to_owned());
                let (cold, warm, requests) =
                    (green.cold.as_secs_f64(), green.warm.as_secs_f64(), green.seen.requests());
                measured.push(format!("{cold:.2} s, {warm:.2} s, {requests} requests"));
                greens.push((configuration, green));
            }
            Err(why) => {
                println!("{}, {configuration:?}: {why}", client.name());
                verdicts.push("**fails**".to_owned());
                measured.push("–".to_owned());
                // What it pulled half is not the next cell's.
                if let Err(why) = tried(running.forget()).await {
                    println!("{}, after that: {why}", client.name());
                }
            }
        }
    }
    println!("{}", measured.join(" | "));
    let behaviour = behaviour(client, &greens);
    println!("{}\n{}", verdicts.join(" | "), behaviour.join(" | "));
    table("measured").settle_measured(&measured);
    table("configurations").settle(&verdicts);
    table("behaviour").settle(&behaviour);
}

/// What the access log tells of the client: what it asks for, and how.
fn behaviour(client: Installed, greens: &[(Configuration, Green)]) -> Vec<String> {
    let seen = |wanted: Configuration, tell: &dyn Fn(&Seen) -> String| {
        let found = greens.iter().find(|(configuration, _)| *configuration == wanted);
        found.map_or_else(|| "–".to_owned(), |(_, green)| tell(&green.seen))
    };
    let connections = |seen: &Seen| {
        if seen.connections() < seen.requests() { "kept alive" } else { "one a request" }.to_owned()
    };
    let sessions = |seen: &Seen| if seen.resumed_sessions() > 0 { "resumed" } else { "full" }.to_owned();
    vec![
        client.name(),
        seen(Configuration::Plain, &Seen::asked),
        seen(Configuration::Plain, &connections),
        seen(Configuration::Plain, &Seen::http),
        seen(Configuration::Tls, &Seen::http),
        seen(Configuration::Tls, &connections),
        seen(Configuration::Tls, &sessions),
        seen(Configuration::Mirror, &Seen::named_by),
        seen(Configuration::PullThrough, &Seen::named_by),
    ]
}
