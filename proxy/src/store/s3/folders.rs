//! A page of folders in the order of their names, from listings in the order of keys.
//!
//! The two differ: the key of a folder ends with a slash, so `1.0-rc/` comes before `1.0/` although `1.0` is the
//! smaller name. A name is settled once no smaller one can follow, and only a name that it begins with could.

use std::collections::BTreeSet;

/// The first names after one, as they come to be known.
#[derive(Debug)]
pub(super) struct FolderPage {
    after: Option<String>,
    limit: usize,
    names: BTreeSet<String>,
    /// The last key that was listed.
    position: String,
}

impl FolderPage {
    /// A page of at most `limit` names after `after`.
    pub(super) fn new(after: Option<&str>, limit: usize) -> Self {
        Self { after: after.map(str::to_owned), limit, names: BTreeSet::new(), position: String::new() }
    }

    /// Takes the next folders, in the order of their keys, with or without their closing slash.
    pub(super) fn extend<'n>(&mut self, folders: impl Iterator<Item = &'n str>) {
        for name in folders.map(|folder| folder.strip_suffix('/').unwrap_or(folder)) {
            self.position = format!("{name}/");
            if self.after.as_deref().is_none_or(|after| name > after) {
                self.names.insert(name.to_owned());
                // One more than the page says whether more follow.
                if self.names.len() > self.limit.saturating_add(1) {
                    self.names.pop_last();
                }
            }
        }
    }

    /// Whether nothing that is still to be listed can change the page.
    pub(super) fn is_settled(&self) -> bool {
        let Some(last) = self.names.last().filter(|_| self.names.len() > self.limit) else { return false };
        let may_follow = |name: &str| {
            let smaller = self.after.as_deref().is_none_or(|after| name > after) && name <= last.as_str();
            smaller && !self.names.contains(name) && format!("{name}/") > self.position
        };
        let beginnings = |name: &String| {
            let cuts = name.char_indices().skip(1).map(|(at, _)| at);
            cuts.filter_map(|at| name.get(..at)).any(may_follow)
        };
        last.as_str() < self.position.as_str() && !self.names.iter().any(beginnings)
    }

    /// The page, as far as it is known.
    pub(super) fn finish(self) -> super::Listing {
        let more = self.names.len() > self.limit;
        super::Listing { folders: self.names.into_iter().take(self.limit).collect(), more }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the names and however large the listings, the page is the first names in their own order.
        #[test]
        fn pages_are_in_the_order_of_names(
            names in proptest::collection::btree_set("[-.0-1a]{1,4}", 0..40),
            after in proptest::option::of("[-.0-1a]{1,3}"),
            limit in 0..10usize,
            step in 1..5usize,
        ) {
            let mut keys: Vec<String> = names.iter().map(|name| format!("{name}/")).collect();
            keys.sort();
            // As a store does with `start-after`.
            keys.retain(|key| after.as_deref().is_none_or(|after| key.as_str() > after));
            let mut page = FolderPage::new(after.as_deref(), limit);
            for listed in keys.chunks(step) {
                page.extend(listed.iter().map(String::as_str));
                if page.is_settled() {
                    break;
                }
            }
            let page = page.finish();
            let right: Vec<String> =
                names.into_iter().filter(|name| after.as_ref().is_none_or(|after| name > after)).collect();
            prop_assert_eq!(page.more, right.len() > limit);
            prop_assert_eq!(page.folders, right.into_iter().take(limit).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_settled_page_needs_no_further_listing() {
        let mut page = FolderPage::new(None, 1);
        page.extend(["v1-rc/", "v1/", "v2/"].into_iter());
        assert!(page.is_settled());
        let mut page = FolderPage::new(None, 1);
        page.extend(["v1-rc/", "v1.1/"].into_iter());
        assert!(!page.is_settled(), "v1 may follow");
    }
}
