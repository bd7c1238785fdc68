//! `loadtest seed`: writes content that can be pulled.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::seed::{Content, SeedError, Seeded, Sizes};
use crate::subject::Subject;

/// Writes images with known digests into a folder that registries serve: the layout of the CNCF distribution, one folder
/// for each registry, so that `DIR/<registry>` is the root directory of docker-registry and `DIR` a local account of
/// dataproxy. The same options make the same bytes on every machine.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the registries' folders lie; made if absent
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// A registry to fill; may be repeated
    #[arg(long = "registry", value_name = "NAME", default_value = "contoso", value_parser = name)]
    registries: Vec<String>,
    /// Images in each registry: app-001:v1, app-002:v1, …
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    images: u32,
    /// Layers of each image
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=127))]
    layers: u32,
    /// Size of every layer, such as 16KiB or 64MiB
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = |text: &str| Sizes::fixed(text))]
    layer_size: Sizes,
    /// Sizes of layers instead: log-normal:MEDIAN:SIGMA[:MOST], or a file with a size in each line to draw from
    #[arg(long, value_name = "log-normal:…|FILE", conflicts_with = "layer_size")]
    sizes: Option<Sizes>,
    /// Of every byte: other seeds make other content
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Puts the images beside other content that is there
    #[arg(long)]
    add: bool,
    /// Also links everything into this folder as a plain file server serves it: v2/<registry>/<repository>/…
    #[arg(long, value_name = "DIR")]
    www: Option<PathBuf>,
    /// Also writes a file of what can be pulled, for `loadtest pull --subjects`
    #[arg(long, value_name = "FILE")]
    subjects: Option<PathBuf>,
    /// Where the subjects will be asked for. With {registry} in it, as in http://{registry}.registry.test:5000, the registry is
    /// named by the host, else by the first part of the path
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5000", requires = "subjects")]
    endpoint: String,
    /// Leaves the registry's name out of the subjects: for a docker-registry that serves DIR/<registry> alone
    #[arg(long, requires = "subjects")]
    bare: bool,
}

pub(crate) fn run(options: &Options) -> ExitCode {
    match seed(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("loadtest seed: {message}");
            ExitCode::from(2)
        }
    }
}

fn seed(options: &Options) -> Result<(), String> {
    let sizes = options.sizes.as_ref().unwrap_or(&options.layer_size);
    let contents: Vec<Content> = options
        .registries
        .iter()
        .map(|registry| Content::evenly(registry, options.seed, options.images, options.layers, sizes))
        .collect();
    // Refused before gigabytes are written.
    subjects(options, &[])?;
    let bar = progress(contents.iter().map(Content::bytes).sum());
    let mut seeded = Vec::with_capacity(contents.len());
    for content in &contents {
        bar.set_message(content.registry.clone());
        let written =
            content.write(&options.dir, options.www.as_deref(), options.add, &mut |bytes| bar.inc(bytes));
        seeded.push(written.map_err(|error: SeedError| error.to_string())?);
    }
    bar.finish_and_clear();
    if let Some(path) = &options.subjects {
        let text = subjects(options, &seeded)?;
        fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    for (content, seeded) in contents.iter().zip(&seeded) {
        let done = if seeded.written { "written" } else { "there already" };
        let dir = options.dir.join(&seeded.registry);
        say(&format!(
            "{}: {} images, {} layers, {:.1} MiB, {done} in {}",
            seeded.registry,
            seeded.images.len(),
            seeded.images.iter().map(|image| image.layers.len()).sum::<usize>(),
            content.bytes() as f64 / f64::from(1 << 20),
            dir.display(),
        ));
    }
    Ok(())
}

/// A line for each image.
fn subjects(options: &Options, seeded: &[Seeded]) -> Result<String, String> {
    let line = |registry: &str, image: &str| {
        let endpoint = options.endpoint.trim_end_matches('/');
        let named_by_host = endpoint.contains("{registry}");
        let endpoint = endpoint.replace("{registry}", registry);
        let path = if named_by_host || options.bare { String::new() } else { format!("{registry}/") };
        let text = format!("{endpoint}/{path}{image}");
        text.parse::<Subject>().map(|subject| format!("{subject}\n"))
    };
    let wrong = |error| format!("--endpoint {}: {error}", options.endpoint);
    for registry in &options.registries {
        line(registry, "app-001:v1").map_err(wrong)?;
    }
    let images = seeded.iter().flat_map(|seeded| {
        seeded.images.iter().map(|image| (&seeded.registry, format!("{}:{}", image.repository, image.tag)))
    });
    images.map(|(registry, image)| line(registry, &image).map_err(wrong)).collect()
}

fn progress(bytes: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// A registry's name is a folder and the first part of a repository's name.
fn name(text: &str) -> Result<String, String> {
    let fits = text.len() <= 63
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.is_empty();
    if fits {
        Ok(text.to_owned())
    } else {
        Err("a registry's name has 1 to 63 of a-z, 0-9 and -, and neither begins nor ends with -".to_owned())
    }
}

fn say(line: &str) {
    // A closed pipe is not worth a word.
    let _ = writeln!(io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use tempfile::TempDir;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        let line =
            Line::try_parse_from(["seed"].iter().chain(arguments)).map_err(|error| error.to_string())?;
        Ok(line.options)
    }

    #[test]
    fn every_image_is_a_subject_named_as_its_registry_is_reached() {
        for (arguments, expected) in [
            (vec![], "http://127.0.0.1:5000/contoso/app-001:v1\nhttp://127.0.0.1:5000/contoso/app-002:v1\n"),
            (vec!["--bare"], "http://127.0.0.1:5000/app-001:v1\nhttp://127.0.0.1:5000/app-002:v1\n"),
            (
                vec!["--endpoint", "https://{registry}.registry.test"],
                "https://contoso.registry.test/app-001:v1\nhttps://contoso.registry.test/app-002:v1\n",
            ),
        ] {
            let dir = TempDir::new().expect("a folder");
            let (content, list) = (dir.path().join("content"), dir.path().join("subjects"));
            let mut all = vec![content.to_str().expect("text"), "--subjects", list.to_str().expect("text")];
            all.extend(["--images", "2", "--layers", "1", "--layer-size", "2KiB"]);
            all.extend(&arguments);
            let options = parse(&all).expect("valid");
            seed(&options).expect("written");
            assert_eq!(fs::read_to_string(&list).expect("written"), expected);
        }
    }

    #[test]
    fn options_that_cannot_be_are_refused_before_anything_is_written() {
        for (arguments, expected) in [
            (vec!["--registry", "Contoso"], "a-z, 0-9 and -"),
            (vec!["--registry", "../x"], "a-z, 0-9 and -"),
            (vec!["--layer-size", "64MB"], "64MiB"),
            (vec!["--layer-size", "1KiB"], "at least 2048"),
            (vec!["--images", "0"], "not in"),
            (vec!["--sizes", "log-normal:1MiB"], "log-normal:2MiB:2.0:1GiB"),
            (vec!["--sizes", "log-normal:1MiB:1", "--layer-size", "1MiB"], "cannot be used with"),
            (vec!["--bare"], "--subjects"),
        ] {
            let mut all = vec!["/nowhere"];
            all.extend(&arguments);
            let error = parse(&all).expect_err("refused");
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
        let dir = TempDir::new().expect("a folder");
        let content = dir.path().join("content");
        let options = parse(&[
            content.to_str().expect("text"),
            "--subjects",
            "/nowhere/list",
            "--endpoint",
            "ftp://{registry}",
        ]);
        let error = seed(&options.expect("parsed")).expect_err("no endpoint");
        assert!(error.contains("--endpoint") && error.contains("neither http nor https"), "{error}");
        assert!(!content.exists());
    }
}
