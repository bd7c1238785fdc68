//! `region import`: an image from a file into a registry of the region.

use std::path::Path;
use std::time::{Duration, Instant};

use dataproxy_import::{Imported, NameError, Progress, Repository, Step, Tag, import as import_image};
use dataproxy_router_api::Binding;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::azurite::Azurite;
use crate::data::{Data, binding_of};
use crate::error::RegionError;
use crate::options::Import;
use crate::publish::publish;
use crate::topology::Topology;

/// Between two lines where no bar can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(2);

/// Imports the image that the command line names.
pub(crate) fn import(options: &Import) -> Result<(), RegionError> {
    let (registry, repository, tag) = parse(&options.reference)?;
    let data = Data::existing(&options.dir.data)?;
    // The ports of a region that is still to be started are not known; it writes its own when it starts.
    let snapshot = data.load(&Topology::new(0)?)?;
    let binding = binding_of(&snapshot, registry)?;
    let container = data.container(binding);
    let mut shown = Shown::new(&options.reference);
    let image = options.image.as_deref();
    let done = import_image(&options.path, &container, &repository, &tag, image, &mut |progress| {
        shown.update(progress)
    });
    shown.finish();
    report(&options.reference, &container, &done?);
    match data.azurite_address() {
        Some(address) => put_into_azurite(&data, Azurite::at(address), binding),
        None => Ok(()),
    }
}

/// Without this, nodes over Azurite would see the image at the region's next start only.
fn put_into_azurite(data: &Data, azurite: Azurite, binding: &Binding) -> Result<(), RegionError> {
    if std::net::TcpStream::connect(azurite.address).is_err() {
        println!("azurite does not run; the image gets there when the region starts with --azurite");
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| RegionError::System { what: "runtime", error })?;
    let done = runtime.block_on(publish(data, &azurite, binding))?;
    println!("{} of {} put into azurite", count(done.objects, "object"), size(done.bytes));
    Ok(())
}

/// Splits `REGISTRY/REPOSITORY:TAG`.
fn parse(text: &str) -> Result<(&str, Repository, Tag), RegionError> {
    let wrong = |detail: String| RegionError::Reference { text: text.to_owned(), detail };
    let host = |first: &str| first.contains([':', '.']) || first == "localhost";
    let (registry, rest) = match text.split_once('/') {
        Some((first, _)) if host(first) => return Err(wrong(format!("; leave out the host {first}"))),
        Some(parts) => parts,
        None => return Err(wrong(String::new())),
    };
    if rest.contains('@') {
        return Err(wrong(
            "; an image is imported under a tag, its digest follows from its content".to_owned(),
        ));
    }
    let (repository, tag) = rest.rsplit_once(':').ok_or_else(|| wrong("; the tag is missing".to_owned()))?;
    let detail = |error: NameError| wrong(format!("; {error}"));
    Ok((registry, repository.parse().map_err(detail)?, tag.parse().map_err(detail)?))
}

fn report(reference: &str, container: &Path, done: &Imported) {
    for left_out in &done.left_out {
        let platform = left_out.platform.as_deref().unwrap_or("of no stated platform");
        eprintln!("note: the image {platform} is left out: the source does not carry {}", left_out.missing);
    }
    println!("{reference} is {} in {}", done.digest, container.display());
    println!(
        "{} and {}; {} copied, {} were there already",
        count(done.manifests as u64, "manifest"),
        count(done.blobs as u64, "blob"),
        size(done.copied_bytes),
        size(done.present_bytes)
    );
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// How far the import is: a bar on a terminal, a line now and then elsewhere.
struct Shown {
    reference: String,
    bar: ProgressBar,
    step: Option<Step>,
    last_line: Instant,
}

impl Shown {
    fn new(reference: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template(
            "{msg} {bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
        );
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self { reference: reference.to_owned(), bar, step: None, last_line: Instant::now() }
    }

    fn update(&mut self, progress: Progress) {
        let begins = self.step != Some(progress.step);
        if begins {
            self.step = Some(progress.step);
            self.bar.reset();
            self.bar.set_message(verb(progress.step));
        }
        self.bar.set_length(progress.total);
        self.bar.set_position(progress.done);
        if self.bar.is_hidden() && (begins || self.last_line.elapsed() >= LINE_EVERY) {
            self.last_line = Instant::now();
            let (done, total) = (size(progress.done), size(progress.total));
            eprintln!("{}: {} {done} of {total}", self.reference, verb(progress.step));
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn verb(step: Step) -> &'static str {
    match step {
        Step::Waiting => "waiting for another import",
        Step::Unpacking => "unpacking",
        Step::Copying => "copying",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_names_registry_repository_and_tag() {
        let (registry, repository, tag) = parse("contoso/team/app:v1").expect("valid");
        assert_eq!((registry, repository.as_str(), tag.as_str()), ("contoso", "team/app", "v1"));
    }

    #[test]
    fn what_is_no_reference_is_refused_with_what_is_wrong() {
        for (text, reason) in [
            ("app:v1", "is not REGISTRY/REPOSITORY:TAG"),
            ("contoso/app", "the tag is missing"),
            ("127.0.0.1:5000/contoso/app:v1", "leave out the host 127.0.0.1:5000"),
            ("localhost/contoso/app:v1", "leave out the host localhost"),
            ("contoso/app@sha256:00", "under a tag"),
            ("contoso/App:v1", "repository \"App\" is not valid"),
            ("contoso/../x:v1", "repository \"../x\" is not valid"),
            ("contoso/app:", "tag \"\" is not valid"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(reason) && error.contains("such as contoso/app:v1"), "{error}");
        }
    }
}
