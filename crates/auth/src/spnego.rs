//! SPNEGO.
