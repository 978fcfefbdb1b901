//! The host file system as a Backend.
