//! A share mounted over FUSE.
