//! The images that a new region begins with. The same bytes on every machine; what is there is left alone.

mod noise;
mod program;

use std::path::Path;

use dataproxy_import::{
    Change, Compression, Descriptor, ImageBuilder, ImportError, Platform, Repository, Tag, Target,
};
use dataproxy_router_api::Snapshot;

use crate::data::{Data, binding_of};
use crate::error::RegionError;
use noise::Noise;
use program::{Machine, program};

/// A layer that no compression shrinks, larger than any one read of it.
const NOISE_BYTES: u64 = 66 << 20;
const NOISE_SEED: u64 = 0x5eed;

type Build = fn(&mut Change) -> Result<Descriptor, ImportError>;

/// Registry, repository, tag, and how the image is made.
const SEEDS: [(&str, &str, &str, Build); 3] =
    [("contoso", "hello", "v1", hello), ("contoso", "multi", "v1", multi), ("fabrikam", "base", "v1", base)];

/// Puts every image whose tag is not there yet into its registry; `made` is told of each.
pub(crate) fn seed(data: &Data, snapshot: &Snapshot, made: &mut dyn FnMut(&str)) -> Result<(), RegionError> {
    for (registry, repository, tag, build) in SEEDS {
        // A registry that was taken out of the bindings is not missed.
        let Ok(binding) = binding_of(snapshot, registry) else { continue };
        let container = data.container(binding);
        let (repository_name, tag_name) = (repository.parse()?, tag.parse()?);
        if put(&container, &repository_name, &tag_name, build)? {
            made(&format!("{registry}/{repository}:{tag}"));
        }
    }
    Ok(())
}

/// Whether the image had to be made.
fn put(container: &Path, repository: &Repository, tag: &Tag, build: Build) -> Result<bool, RegionError> {
    let target = Target::new(container);
    let present = target.tagged(repository, tag).map_err(|error| RegionError::file(container, error))?;
    if present.is_some() {
        return Ok(false);
    }
    let mut change = Change::begin(container, || {})?;
    let image = build(&mut change)?;
    change.publish(repository, tag, &image.digest)?;
    Ok(true)
}

/// A program that greets, one layer of noise, one that is empty, and a note on top.
fn hello(change: &mut Change) -> Result<Descriptor, ImportError> {
    let mut image = ImageBuilder::new(change, Platform::linux("amd64"));
    image.layer("add /hello", Compression::Gzip, |layer| {
        layer.file("hello", 0o755, &program(Machine::Amd64, "hello from contoso, through dataproxy\n"))
    })?;
    image.layer("add /noise", Compression::None, |layer| {
        layer.stream("noise", 0o644, NOISE_BYTES, Noise::new(NOISE_SEED))
    })?;
    image.layer("change nothing", Compression::None, |_| Ok(()))?;
    image.layer("add /README", Compression::Gzip, |layer| {
        layer.file("README", 0o644, b"/noise is there to be pulled: 66 MiB that no compression shrinks.\n")
    })?;
    image.entrypoint(&["/hello"]).finish()
}

/// The same small image for two platforms.
fn multi(change: &mut Change) -> Result<Descriptor, ImportError> {
    let mut images = Vec::new();
    for (architecture, machine) in [("amd64", Machine::Amd64), ("arm64", Machine::Arm64)] {
        let mut image = ImageBuilder::new(change, Platform::linux(architecture));
        image.layer("add /hello", Compression::Gzip, |layer| {
            let greeting = format!("hello from contoso on linux/{architecture}, through dataproxy\n");
            layer.file("hello", 0o755, &program(machine, &greeting))
        })?;
        images.push(image.entrypoint(&["/hello"]).finish()?);
    }
    ImageBuilder::index(change, images)
}

/// A small root file system.
fn base(change: &mut Change) -> Result<Descriptor, ImportError> {
    let mut image = ImageBuilder::new(change, Platform::linux("amd64"));
    image.layer("add a root file system", Compression::Gzip, |layer| {
        for folder in ["bin", "dev", "etc", "home", "proc", "run", "sys", "usr", "usr/bin", "var", "var/log"]
        {
            layer.folder(folder, 0o755)?;
        }
        layer.folder("root", 0o700)?;
        layer.folder("tmp", 0o1777)?;
        layer.symlink("var/run", "../run")?;
        layer.file("etc/hostname", 0o644, b"fabrikam\n")?;
        layer.file(
            "etc/passwd",
            0o644,
            b"root:x:0:0:root:/root:/bin/hello\nnobody:x:65534:65534:nobody:/:/bin/hello\n",
        )?;
        layer.file("etc/group", 0o644, b"root:x:0:\nnogroup:x:65534:\n")?;
        layer.file("etc/os-release", 0o644, OS_RELEASE)
    })?;
    image.layer("add /bin/hello", Compression::Gzip, |layer| {
        layer.file("bin/hello", 0o755, &program(Machine::Amd64, "hello from fabrikam, through dataproxy\n"))
    })?;
    image.command(&["/bin/hello"]).finish()
}

const OS_RELEASE: &[u8] =
    b"NAME=\"fabrikam base\"\nID=fabrikam\nVERSION_ID=1\nPRETTY_NAME=\"fabrikam base 1\"\n";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Topology;

    /// Another digest here is another image under the same tag: a change that users see.
    const DIGESTS: [(&str, &str); 3] = [
        ("contoso/hello:v1", "sha256:7c7f5ab019cbde16d4377205fa6c4c45012a82eb7d64f5550ad31b7f22f809db"),
        ("contoso/multi:v1", "sha256:338a4deaef8cbdc8f7704390a46d2bc41a68856801568f55ab4f66f4d7a03f49"),
        ("fabrikam/base:v1", "sha256:559c4980a59b6770af34bb4136fa7aa4263afc482420fa197030d6686f1c3914"),
    ];

    #[test]
    fn seeds_are_the_same_bytes_everywhere_and_made_once() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = Data::open(dir.path()).expect("a folder");
        let snapshot = data.load(&Topology::new(0).expect("names")).expect("bindings");
        let mut made = Vec::new();
        seed(&data, &snapshot, &mut |image| made.push(image.to_owned())).expect("seeded");
        assert_eq!(made, DIGESTS.map(|(image, _)| image));
        let tagged = SEEDS.map(|(registry, repository, tag, _)| {
            let target = Target::new(data.container(binding_of(&snapshot, registry).expect("bound")));
            let (repository, tag) = (repository.parse().expect("a name"), tag.parse().expect("a tag"));
            target.tagged(&repository, &tag).expect("readable").expect("there").to_string()
        });
        assert_eq!(tagged, DIGESTS.map(|(_, digest)| digest.to_owned()));
        made.clear();
        seed(&data, &snapshot, &mut |image| made.push(image.to_owned())).expect("seeded");
        assert_eq!(made, [""; 0], "what is there is left alone");
    }
}
