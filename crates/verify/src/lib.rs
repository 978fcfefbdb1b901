//! The verifier: checks every signature of every SMB session in a capture and says
//! of each failure why.
#![forbid(unsafe_code)]
