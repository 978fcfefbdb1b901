//! The scanner: dialects, signing, algorithms and names of SMB servers, read and proved.
#![forbid(unsafe_code)]
