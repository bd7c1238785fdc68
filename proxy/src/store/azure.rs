//! An account of Azure Blob as a storage account; the first segment of an object's name is the container.

use std::time::Duration;

use dataproxy_azure::Account;
use dataproxy_cache::{ObjectName, OriginError};
use futures_util::future::BoxFuture;

use super::{Listing, SignedUrl, Store};

impl Store for Account {
    fn list<'a>(
        &'a self,
        prefix: &'a ObjectName,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Result<Listing, OriginError>> {
        Box::pin(async move {
            let folders = Self::list(self, prefix, after, limit).await?;
            Ok(Listing { folders: folders.names, more: folders.more })
        })
    }

    fn sign<'a>(
        &'a self,
        object: &'a ObjectName,
        valid: Duration,
    ) -> BoxFuture<'a, Result<Option<SignedUrl>, OriginError>> {
        Box::pin(async move {
            let url = Self::sign(self, object, valid).await?;
            Ok(url.map(|url| SignedUrl::new(url.secret().to_owned())))
        })
    }
}
