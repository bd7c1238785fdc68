//! Puts images into a storage folder in the CNCF distribution layout.
