//! Why a verdict is what it is.

use std::fmt;

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $text:literal;)*) => {
        /// The reason of a verdict. Codes are stable: logs, output and
        /// documentation use them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[doc = $doc])+ $name,)*
        }

        impl Reason {
            /// All reasons, in the order of the documentation.
            pub const ALL: &'static [Reason] = &[$(Reason::$name),*];

            /// The stable code.
            pub const fn code(self) -> &'static str {
                match self { $(Reason::$name => $code,)* }
            }

            /// One line for people.
            pub const fn text(self) -> &'static str {
                match self { $(Reason::$name => $text,)* }
            }

            /// The paragraph of the documentation.
            pub const fn documentation(self) -> &'static str {
                match self { $(Reason::$name => concat!($($doc, "\n"),+),)* }
            }
        }
    };
}

reasons! {
    /// Our "always" setting is Enabled: every message of the session is signed or encrypted.
    PolicyRequires = "policy-requires", "signed: our policy requires it";
    /// The peer insists on signing (SMB1 Flags2 0x0010 or SecurityMode 0x08, SMB2
    /// SecurityMode 0x0002) and we can.
    PeerRequires = "peer-requires", "signed: the peer requires it";
    /// SMB1 only: both sides announced that they can sign.
    BothAgree = "both-agree", "signed: both sides can";
    /// SMB2 and 3: neither side requires signing, but the peer signs of its own will; so
    /// its messages are verified and the answers signed.
    PeerSigns = "peer-signs", "signed: the peer signs though neither side requires it";
    /// Neither side requires signing. In SMB1: not both can. In SMB2 and 3 a message
    /// the peer signs is still verified and its answer signed.
    NotRequired = "not-required", "unsigned: neither side requires signing";
    /// The message came encrypted, which protects it at least as well as a signature.
    Encrypted = "encrypted", "encrypted: counts as signed";
    /// Guest and null sessions have no key, so they cannot be signed. They exist only
    /// where signing is not required.
    NoKeyForIdentity = "no-key-for-identity", "unsigned: guest and null sessions have no key";
    /// The protocol has this message unsigned: NEGOTIATE, the first messages of a
    /// logon, interim responses and break notifications.
    UnsignedByDesign = "unsigned-by-design", "unsigned: the protocol never signs this message";
    /// A response carried only a failure that its sender has no key for. It is believed
    /// as far as giving up, no further.
    KeylessFailure = "keyless-failure", "unsigned: the peer has no key for this failure";
    /// A guest or null logon while our policy requires signing: no key, so nothing of
    /// it could be signed. Refused with STATUS_ACCESS_DENIED (a client disconnects).
    GuestUnderRequired = "guest-under-required", "refused: signing is required, and guest and null sessions cannot sign";
    /// A logon succeeded but left no key to sign with, though our policy or the peer
    /// requires signing, or the dialect cannot do without. Never served unsigned.
    NoKeyUnderRequired = "no-key-under-required", "refused: signing is required, and this logon yields no key";
    /// SMB1 only: the peer requires signing while both our settings are off.
    PeerRequiresWeCannot = "peer-requires-we-cannot", "refused: the peer requires signing, and it is off here";
    /// SMB1 client only: the server requires signing while both our settings are off.
    ServerRequiresWeCannot = "server-requires-we-cannot", "refused: the server requires signing, and it is off here";
    /// The signature is wrong: altered on the way, replayed, dropped, or another key.
    /// SMB1 disconnects, since the numbers of the two sides would no longer agree;
    /// SMB2 answers STATUS_ACCESS_DENIED ([MS-SMB2] 3.3.5.2.4); a client disconnects.
    BadSignature = "bad-signature", "refused: wrong signature";
    /// A message without signature or encryption in a session that requires it.
    UnsignedOnRequired = "unsigned-on-required", "refused: not signed in a session that requires it";
    /// A message in clear in a session that must be encrypted ([MS-SMB2] 3.3.5.2.9).
    UnencryptedOnRequired = "unencrypted-on-required", "refused: not encrypted in a session that requires it";
    /// A message says it is signed but its session has no key, as guest and null
    /// sessions.
    SignedWithoutKey = "signed-without-key", "refused: signed, but the session has no key";
    /// A signed message for a session this connection does not have.
    UnknownSession = "unknown-session", "refused: signed for a session that is not known here";
    /// NEGOTIATE must not be signed ([MS-SMB2] 3.3.5.2.4).
    NegotiateSigned = "negotiate-signed", "refused: NEGOTIATE must not be signed";
    /// SMB 3.1.1: a real user's TREE_CONNECT came neither signed nor encrypted, so the
    /// pre-authentication hash proves nothing ([MS-SMB2] 3.3.5.7).
    TreeConnectUnsigned = "tree-connect-unsigned", "disconnected: TREE_CONNECT of a user neither signed nor encrypted";
    /// SESSION_SETUP that binds a channel must be signed with the session's key
    /// ([MS-SMB2] 3.3.5.5).
    BindUnsigned = "bind-unsigned", "refused: a channel bind must be signed";
    /// Client: the final SESSION_SETUP response is not signed where it must be: in SMB
    /// 3.1.1, or when signing is required or (SMB1) was agreed.
    FinalResponseUnsigned = "final-response-unsigned", "disconnected: the server did not sign the end of the logon";
    /// Client: a response without signature where one is due.
    ResponseUnsigned = "response-unsigned", "disconnected: response not signed";
    /// Client: the answer to FSCTL_VALIDATE_NEGOTIATE_INFO must be signed or encrypted
    /// ([MS-SMB2] 3.2.5.14.12).
    ValidateUnsigned = "validate-unsigned", "disconnected: the proof of the negotiation is not signed";
    /// The policy requires signing, and an exception lets this peer stay unsigned: until its
    /// end, in the shares it names and with its limits.
    Exception = "exception", "unsigned: an exception allows it";
    /// An unsigned session under an exception asked for a share that the exception does not
    /// name, or for IPC$ where it is left out. Refused with STATUS_ACCESS_DENIED.
    ExceptionShare = "exception-share", "refused: the exception of this unsigned session does not name the share";
    /// The exception that let this session stay unsigned has ended, was taken back or changed.
    ExceptionEnded = "exception-ended", "ended: the exception that let this session stay unsigned is over";
    /// The policy was tightened, and this session was agreed without signing.
    PolicyTightened = "policy-tightened", "ended: the policy now requires signing, and this session does not sign";
    /// The policy was tightened, and this is a guest or null session.
    PolicyTightenedGuest = "policy-tightened-guest", "ended: the policy now requires signing, and guest and null sessions cannot sign";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.code())
    }
}
