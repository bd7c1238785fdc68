//! An object's name → container and blob.

use dataproxy_cache::{ObjectName, OriginError, OriginErrorKind};

/// A blob's place in an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    pub(crate) container: &'a str,
    /// The rest of the object's name, exactly: a slash at its start belongs to it, as in `c//docker/registry/…`,
    /// the form that older registries write.
    pub(crate) blob: &'a str,
}

/// Finds the place that an object's name means.
///
/// # Errors
/// [`OriginErrorKind::NotFound`] for what no blob can be named, [`OriginErrorKind::Denied`] for what no container
/// can: a placement names it, so that is a fault in the set-up and says nothing about an image.
pub(crate) fn of_blob(object: &ObjectName) -> Result<Place<'_>, OriginError> {
    let place = of_prefix(object)?;
    // `.` and `..` would lead elsewhere once they are part of a URL.
    if place.blob.is_empty() || place.blob.split('/').any(|segment| matches!(segment, "." | "..")) {
        let message = format!("{object:?} is not a name of a blob");
        return Err(OriginError::new(OriginErrorKind::NotFound, message));
    }
    Ok(place)
}

/// As [`of_blob`], for the beginning of names; it may be the container alone.
pub(crate) fn of_prefix(object: &ObjectName) -> Result<Place<'_>, OriginError> {
    let (container, blob) = object.as_str().split_once('/').unwrap_or((object.as_str(), ""));
    if is_container(container) {
        return Ok(Place { container, blob });
    }
    let message = format!(
        "{container:?} is not a name of a container; 3 to 63 of a-z, 0-9 and single '-' are allowed, so the \
         registry's placement is wrong"
    );
    Err(OriginError::new(OriginErrorKind::Denied, message))
}

/// "Naming and referencing containers, blobs, and metadata", Azure Storage reference.
fn is_container(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    matches!(name, "$root" | "$web")
        || (3..=63).contains(&name.len())
            && name.chars().all(|c| plain(c) || c == '-')
            && name.starts_with(plain)
            && name.ends_with(plain)
            && !name.contains("--")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> Result<(String, String), OriginErrorKind> {
        of_blob(&ObjectName::new(name))
            .map(|place| (place.container.to_owned(), place.blob.to_owned()))
            .map_err(|error| error.kind)
    }

    #[test]
    fn a_name_is_split_at_its_first_slash_and_nothing_else_is_changed() {
        let place = |container: &str, blob: &str| Ok((container.to_owned(), blob.to_owned()));
        assert_eq!(kind("contoso/docker/registry"), place("contoso", "docker/registry"));
        assert_eq!(kind("contoso//docker/registry"), place("contoso", "/docker/registry"));
        assert_eq!(kind("contoso/a//b/"), place("contoso", "a//b/"));
        assert_eq!(kind("contoso/a..b/.c"), place("contoso", "a..b/.c"));
    }

    #[test]
    fn a_blob_that_cannot_be_is_absent_and_a_container_that_cannot_be_is_a_fault_in_the_set_up() {
        for name in ["contoso", "contoso/", "contoso/..", "contoso/a/../b", "contoso/./a"] {
            assert_eq!(kind(name), Err(OriginErrorKind::NotFound), "{name}");
        }
        for name in ["", "/a", "ab/x", "Contoso/x", "con_toso/x", "-abc/x", "abc-/x", "a--b/x", "../x"] {
            assert_eq!(kind(name), Err(OriginErrorKind::Denied), "{name}");
        }
    }
}
