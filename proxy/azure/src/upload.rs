//! Puts content into an account: for seeding a region and for tests. Pulls never write.

use std::num::NonZero;
use std::path::Path;

use azure_core::http::Body;
use azure_storage_blob::models::{
    BlobClientDeleteOptions, BlobClientUploadOptions, BlobContainerClientCreateOptions,
};
use azure_storage_blob::stream::tokio::FileStream;
use bytes::Bytes;
use dataproxy_cache::{ObjectName, OriginError, OriginErrorKind};

use crate::account::{Account, RequestId};
use crate::place;

/// Content up to this size is put in one request; more in blocks of it, in bytes.
const BLOCK_BYTES: NonZero<u64> = NonZero::new(8 << 20).unwrap();
/// Blocks on their way at once.
const BLOCKS: NonZero<usize> = NonZero::new(4).unwrap();

impl Account {
    /// Makes a container; one that is there already will do.
    ///
    /// # Errors
    /// [`OriginError`]
    pub async fn create_container(&self, name: &str) -> Result<(), OriginError> {
        let object = ObjectName::new(name);
        let place = place::of_prefix(&object)?;
        let request = RequestId::new();
        let options = BlobContainerClientCreateOptions {
            method_options: request.options(),
            ..BlobContainerClientCreateOptions::default()
        };
        match self.inner.service.blob_container_client(place.container).create(Some(options)).await {
            Err(error) if !is_code(&error, "ContainerAlreadyExists") => {
                Err(self.failure(&error, name, &request))
            }
            _ => Ok(()),
        }
    }

    /// Stores an object, over what is there. Its container must be there.
    ///
    /// # Errors
    /// [`OriginError`]
    pub async fn put(&self, object: &ObjectName, content: Bytes) -> Result<(), OriginError> {
        self.upload(object, Body::Bytes(content)).await
    }

    /// Stores a file as an object, over what is there; it is never in memory as a whole.
    ///
    /// # Errors
    /// [`OriginError`]
    pub async fn put_file(&self, object: &ObjectName, path: &Path) -> Result<(), OriginError> {
        let failed = |error: &dyn std::fmt::Display| {
            OriginError::new(OriginErrorKind::Unavailable, format!("{}: {error}", path.display()))
        };
        let file = tokio::fs::File::open(path).await.map_err(|error| failed(&error))?;
        let stream = FileStream::builder(file).with_buffer_size(1 << 20).build().await;
        self.upload(object, stream.map_err(|error| failed(&error))?.into()).await
    }

    /// Removes an object.
    ///
    /// # Errors
    /// [`OriginError`]; [`OriginErrorKind::NotFound`] if it is not there.
    pub async fn remove(&self, object: &ObjectName) -> Result<(), OriginError> {
        let place = place::of_blob(object)?;
        let request = RequestId::new();
        let options = BlobClientDeleteOptions {
            method_options: request.options(),
            ..BlobClientDeleteOptions::default()
        };
        match self.blob(place).delete(Some(options)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failure(&error, object.as_str(), &request)),
        }
    }

    async fn upload(&self, object: &ObjectName, content: Body) -> Result<(), OriginError> {
        let place = place::of_blob(object)?;
        let request = RequestId::new();
        let options = BlobClientUploadOptions {
            blob_content_type: Some("application/octet-stream".to_owned()),
            partition_size: Some(BLOCK_BYTES),
            parallel: Some(BLOCKS),
            method_options: request.options(),
            ..BlobClientUploadOptions::default()
        };
        match self.blob(place).upload(content.into(), Some(options)).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failure(&error, object.as_str(), &request)),
        }
    }
}

fn is_code(error: &azure_core::Error, code: &str) -> bool {
    use azure_core::error::ErrorKind;
    matches!(error.kind(), ErrorKind::HttpResponse { error_code: Some(found), .. } if found == code)
}
