//! The media types of manifests, configurations and layers (OCI image-spec; docker's image spec v2.2).

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// For messages.
pub(crate) const EXPECTED_MANIFEST: &str =
    "an OCI image manifest or index, or docker's manifest or manifest list of version 2";

/// What a manifest lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A configuration and layers.
    Image,
    /// Other manifests.
    Index,
}

impl Kind {
    /// The kind that a media type names, if it names a manifest.
    pub(crate) fn of(media_type: &str) -> Option<Self> {
        match media_type {
            OCI_MANIFEST | DOCKER_MANIFEST => Some(Self::Image),
            OCI_INDEX | DOCKER_LIST => Some(Self::Index),
            _ => None,
        }
    }
}

/// Whether readers may take a manifest without a `mediaType` of its own for this type.
pub(crate) fn is_oci(media_type: &str) -> bool {
    matches!(media_type, OCI_INDEX | OCI_MANIFEST)
}

/// Whether a layer of this type may be absent from a registry, to be had from its `urls` instead.
pub(crate) fn may_lie_elsewhere(media_type: &str) -> bool {
    media_type.contains(".nondistributable.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}
