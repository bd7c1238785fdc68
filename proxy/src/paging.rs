//! The address of a list's next page (RFC 8288): the caller's own path, so that it leads through the same door.

/// Where a list was asked for, and the page wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'r> {
    /// The path as sent.
    pub(crate) path: &'r str,
    /// `?ns=` as sent.
    pub(crate) namespace: Option<&'r str>,
}

impl Asked<'_> {
    /// The `Link` header to the page that these parameters ask for.
    pub(crate) fn next(&self, parameters: &[(&str, String)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in parameters {
            query.append_pair(name, value);
        }
        if let Some(namespace) = self.namespace {
            query.append_pair("ns", namespace);
        }
        format!("<{}?{}>; rel=\"next\"", self.path, query.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_behind_the_same_path_and_ns() {
        let asked =
            Asked { path: "/v2/contoso/app/tags/list", namespace: Some("contoso.registry.test:5000") };
        assert_eq!(
            asked.next(&[("n", "2".into()), ("last", "v1+x".into())]),
            "</v2/contoso/app/tags/list?n=2&last=v1%2Bx&ns=contoso.registry.test%3A5000>; rel=\"next\""
        );
    }
}
