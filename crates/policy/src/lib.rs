//! The four signing settings, their layers, and the verdict for a peer.
//!
//! Pure: no bytes, no keys, no clock, no I/O. [`Layers::effective`] says which
//! value of which layer is in force; [`verdict()`] says what that means for one
//! peer at one of the protocol's three moments; [`live_change`] says what a
//! change means for a session that exists already.
#![forbid(unsafe_code)]

mod audit_switch;
pub mod check;
mod effect;
mod exception;
pub mod exchange;
pub mod explain;
mod facts;
mod group_layers;
pub mod group_policy;
mod layers;
mod live;
pub mod matrix;
mod posture;
mod profile;
mod reason;
mod settings;
mod smb1;
mod smb2;
mod source;
mod verdict;

pub use audit_switch::AuditSwitch;
pub use exception::{Exception, Exceptions, Network, NetworkError, Peer, exception_for_share};
pub use facts::{
    CommandClass, Facts, Family, Identity, MessageFacts, MessageState, Moment, PeerFlags,
    SessionFacts, SessionMoment, ShareMoment, Side, SignedSoFar,
};
pub use group_layers::{GpoLayer, GroupPolicyLayers};
pub use layers::{Effective, Layer, Layers, Shadowed, Standing};
pub use live::{LiveChange, live_change};
pub use posture::Posture;
pub use profile::{Profile, Role};
pub use reason::Reason;
pub use settings::{ParseError, Setting, Settings, Value};
pub use source::{ContainerKind, GpoRef, Source};
pub use verdict::{
    Protection, RefuseStatus, ReplyKind, Verdict, reply_is_signed, request_is_signed, verdict,
};
