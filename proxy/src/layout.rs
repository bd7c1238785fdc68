//! Where things lie in storage: the CNCF distribution layout (`docker/registry/v2`), container first.
//!
//! Pure functions of typed values. A prefix, name, tag or digest cannot hold `..`, so no object name leaves its
//! container.

use dataproxy_cache::{Algorithm, Digest, ObjectName};
use dataproxy_router_api::Prefix;

use crate::holdings::Place;
use crate::name::{Repository, Tag};

mod laid;
mod link_file;
mod tag_folders;

pub use laid::Laid;

/// What the names of content begin with, after the root.
pub(crate) const CONTENT: &str = "docker/registry/v2/blobs/";

/// The object names of one registry's content.
#[derive(Clone, Copy, Debug)]
pub struct Layout<'c> {
    container: &'c str,
    prefix: &'c str,
}

impl<'c> Layout<'c> {
    /// The layout at the top of this container.
    pub fn new(container: &'c str) -> Self {
        Self { container, prefix: "" }
    }

    /// The layout where a registry lies.
    pub fn of(place: Place<'c>) -> Self {
        Self { container: place.container, prefix: place.prefix.as_str() }
    }

    /// The layout below this prefix of the same container.
    #[must_use]
    pub fn below_prefix(self, prefix: &'c Prefix) -> Self {
        Self { prefix: prefix.as_str(), ..self }
    }

    /// What every name begins with: container, slash, prefix.
    pub fn root(&self) -> String {
        format!("{}/{}", self.container, self.prefix)
    }

    /// The content of this digest: a layer, a config or a manifest.
    pub fn blob(&self, digest: &Digest) -> ObjectName {
        let (algorithm, hex) = (digest.algorithm().name(), digest.hex());
        let shard = hex.get(..2).unwrap_or_default();
        // Joined, not formatted: it is made for every pull, though few need it.
        let parts = [self.container, "/", self.prefix, CONTENT, algorithm, "/", shard, "/", &hex, "/data"];
        ObjectName::new(parts.concat())
    }

    /// The folder of a repository.
    pub fn repository(&self, repository: &Repository) -> ObjectName {
        ObjectName::new(self.below(repository))
    }

    /// The link that says: the repository owns this blob.
    pub fn layer_link(&self, repository: &Repository, digest: &Digest) -> ObjectName {
        let (algorithm, hex) = (digest.algorithm().name(), digest.hex());
        ObjectName::new(format!("{}/_layers/{algorithm}/{hex}/link", self.below(repository)))
    }

    /// The link that says: the repository owns this manifest.
    pub fn revision_link(&self, repository: &Repository, digest: &Digest) -> ObjectName {
        let folder = self.revisions(repository, digest.algorithm());
        ObjectName::new(format!("{}/{}/link", folder.as_str(), digest.hex()))
    }

    /// The folder that has a folder for each manifest of the repository.
    pub fn revisions(&self, repository: &Repository, algorithm: Algorithm) -> ObjectName {
        ObjectName::new(format!("{}/_manifests/revisions/{}", self.below(repository), algorithm.name()))
    }

    /// The link that says which manifest a tag means now.
    pub fn tag_link(&self, repository: &Repository, tag: &Tag) -> ObjectName {
        ObjectName::new(format!("{}/{tag}/current/link", self.tags(repository).as_str()))
    }

    /// The folder that has a folder for each tag of the repository.
    pub fn tags(&self, repository: &Repository) -> ObjectName {
        ObjectName::new(format!("{}/_manifests/tags", self.below(repository)))
    }

    fn below(&self, repository: &Repository) -> String {
        format!("{}docker/registry/v2/repositories/{repository}", self.root())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_that_a_registry_writes() {
        let layout = Layout::new("contoso");
        let repository: Repository = "team/app".parse().expect("valid");
        let digest = Digest::of(Algorithm::Sha256, b"");
        let hex = digest.hex();
        let names = [
            layout.blob(&digest),
            layout.layer_link(&repository, &digest),
            layout.revision_link(&repository, &digest),
            layout.tag_link(&repository, &"v1".parse().expect("valid")),
        ];
        let root = "contoso/docker/registry/v2";
        assert_eq!(
            names.map(|name| name.as_str().to_owned()),
            [
                format!("{root}/blobs/sha256/e3/{hex}/data"),
                format!("{root}/repositories/team/app/_layers/sha256/{hex}/link"),
                format!("{root}/repositories/team/app/_manifests/revisions/sha256/{hex}/link"),
                format!("{root}/repositories/team/app/_manifests/tags/v1/current/link"),
            ]
        );
    }

    #[test]
    fn a_prefix_stands_between_the_container_and_the_layout_as_it_is() {
        let digest = Digest::of(Algorithm::Sha256, b"");
        for (prefix, root) in [
            ("", "c/docker/registry/v2"),
            ("/", "c//docker/registry/v2"),
            ("team-a/", "c/team-a/docker/registry/v2"),
            ("/team-a/", "c//team-a/docker/registry/v2"),
        ] {
            let prefix: Prefix = prefix.parse().expect("a prefix");
            let layout = Layout::new("c").below_prefix(&prefix);
            assert_eq!(
                layout.blob(&digest).as_str(),
                format!("{root}/blobs/sha256/e3/{}/data", digest.hex())
            );
            let tags = layout.tags(&"app".parse().expect("valid"));
            assert_eq!(tags.as_str(), format!("{root}/repositories/app/_manifests/tags"));
        }
    }
}
