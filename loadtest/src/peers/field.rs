//! The servers that run, and the rounds.

use std::process::Command;

use super::kind::Kind;
use super::load::{self, Load};
use super::place::Places;
use super::process::{Bound, Started};
use super::result::{Contestant, Row, Sample};
use super::stage::{Blobs, Stage};
use super::{PeersError, Scheme, Settings, quiet, work};
use crate::cost::Watched;

/// All that is measured, running.
#[derive(Debug)]
pub(super) struct Field {
    lanes: Vec<Lane>,
    contestants: Vec<Contestant>,
}

/// One server by one scheme.
#[derive(Debug)]
struct Lane {
    server: String,
    scheme: Scheme,
    url: String,
    pids: Vec<u32>,
}

impl Field {
    /// Starts every server, and the origin of those that want one.
    pub(super) fn start(
        settings: &Settings,
        kinds: &[Kind],
        stage: &Stage,
        started: &Started,
        places: Places,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Self, PeersError> {
        let server = Bound { core: places.server, nice: settings.nice };
        let mut field = Self { lanes: Vec::new(), contestants: Vec::new() };
        let mut origin = None;
        if kinds.iter().any(|kind| kind.wants_origin()) {
            let nginx = Kind::Nginx.program(&settings.dataproxy);
            let nginx = nginx.ok_or(PeersError::Missing(vec![Kind::Nginx]))?;
            let (start, port) = Kind::origin(&nginx, stage)?;
            // Beside the load: it is asked in the warm-up only.
            started.start(&start, Bound { core: places.client, ..server })?;
            origin = Some(port);
        }
        for &kind in kinds {
            let Some(program) = kind.program(&settings.dataproxy) else { continue };
            tell(&format!("starting {}", kind.as_str()));
            for recipe in kind.recipes(&program, stage, origin)? {
                let pid = started.start(&recipe.start, server)?;
                let urls = [(Scheme::Plain, recipe.plain), (Scheme::Tls, recipe.tls)];
                field.lanes.extend(urls.into_iter().filter_map(|(scheme, url)| {
                    Some(Lane { server: kind.as_str().to_owned(), scheme, url: url?, pids: vec![pid] })
                }));
            }
            let version = version(kind, &program);
            field.contestants.push(Contestant { name: kind.as_str().to_owned(), version });
        }
        for external in &settings.externals {
            field.lanes.push(Lane {
                server: external.name.clone(),
                scheme: external.scheme,
                url: external.url.clone(),
                pids: external.pids.clone(),
            });
            field.contestants.push(Contestant { name: external.name.clone(), version: String::new() });
        }
        Ok(field)
    }

    pub(super) fn contestants(&self) -> Vec<Contestant> {
        self.contestants.clone()
    }

    /// Warms every server up, and gives all the same work in turn.
    pub(super) fn measure(
        &self,
        settings: &Settings,
        blobs: &Blobs,
        notes: &mut Vec<String>,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Vec<Row>, PeersError> {
        let load = Load::new()?;
        let mut rows = Vec::new();
        let mut loud = 0;
        for &scheme in &settings.schemes {
            let lanes: Vec<&Lane> = self.lanes.iter().filter(|lane| lane.scheme == scheme).collect();
            for lane in &lanes {
                tell(&format!("{scheme}: warming {} up", lane.server));
                warm_up(&load, lane, blobs)?;
            }
            for &work in &settings.works {
                let mut side_by_side: Vec<Row> = lanes
                    .iter()
                    .map(|lane| Row {
                        scheme,
                        work,
                        title: work.describe(&settings.amount),
                        server: lane.server.clone(),
                        samples: Vec::new(),
                    })
                    .collect();
                for round in 1..=settings.rounds {
                    tell(&format!("{scheme} {}: round {round} of {}", work.as_str(), settings.rounds));
                    for (lane, row) in lanes.iter().zip(&mut side_by_side) {
                        if settings.wait_for_quiet && !quiet::wait()? {
                            loud += 1;
                        }
                        let plan = work.plan(&lane.url, blobs, &settings.amount, settings.duration);
                        let watched = Watched { name: lane.server.clone(), pids: lane.pids.clone() };
                        row.samples.push(Sample::of(&load.run(plan, vec![watched])?));
                    }
                }
                rows.append(&mut side_by_side);
            }
        }
        if loud > 0 {
            notes.push(format!("the machine was not quiet within 20 s before {loud} measurements"));
        }
        Ok(rows)
    }
}

/// Twice: caches admit some things only the second time. The first time every blob is compared with its digest.
fn warm_up(load: &Load, lane: &Lane, blobs: &Blobs) -> Result<(), PeersError> {
    for plan in [work::first_pass(&lane.url, blobs), work::second_pass(&lane.url, blobs)] {
        let report = load.run(plan, Vec::new())?;
        if let Some(problem) = load::failure(&report, blobs.large.len() + blobs.small.len()) {
            return Err(PeersError::WrongContent { name: lane.server.clone(), scheme: lane.scheme, problem });
        }
    }
    Ok(())
}

/// What the program says of itself, in one line; empty where it says nothing.
fn version(kind: Kind, program: &std::path::Path) -> String {
    let argument = match kind {
        Kind::Nginx | Kind::Varnish | Kind::TrafficServer => "-V",
        Kind::Dataproxy | Kind::DockerRegistry => "--version",
    };
    let Ok(output) = Command::new(program).arg(argument).output() else { return String::new() };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines = text.lines().filter(|line| {
        let line = line.to_lowercase();
        ["version", "openssl", "varnishd (", "traffic server", "docker-registry", "dataproxy"]
            .iter()
            .any(|word| line.contains(word))
    });
    lines.take(2).map(str::trim).collect::<Vec<_>>().join(", ")
}
