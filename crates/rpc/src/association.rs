//! The server's side of an association, [MS-RPCE] 3.3.3: binds, requests in
//! fragments, and an answer to every PDU that is due one.

use std::collections::BTreeMap;

use crate::facts::ServerFacts;
use crate::interface::{CallError, Handles, Interface, Syntax};
use crate::ndr::{NdrError, NdrReader};
use crate::pdu::{
    self, FEATURES, FIRST_FRAGMENT, FaultStatus, HEADER_LENGTH, Header, KEEP_CONNECTION,
    LAST_FRAGMENT, MAX_FRAGMENT, MIN_FRAGMENT, NDR32, OBJECT_UUID, PacketType,
};

/// Most bytes of a request put together from fragments.
pub(crate) const MAX_REQUEST: usize = 1 << 20;
/// Most presentation contexts of an association.
const MAX_CONTEXTS: usize = 64;
/// assoc_group_id given to clients.
const ASSOCIATION_GROUP: u32 = 0x0000_53F0;

/// bind_nak reasons, C706 12.6.4.5 and [MS-RPCE] 2.2.2.5.
#[derive(Debug, Clone, Copy)]
#[repr(u16)]
enum NakReason {
    NotSpecified = 0,
    AuthenticationType = 8,
}

/// A request whose last fragment has not come.
#[derive(Debug)]
struct Partial {
    call_id: u32,
    context: u16,
    opnum: u16,
    big_endian: bool,
    stub: Vec<u8>,
}

/// The state of an association.
#[derive(Debug)]
pub(crate) struct Association {
    interface: Interface,
    bound: bool,
    contexts: BTreeMap<u16, Interface>,
    max_transmit: u16,
    partial: Option<Partial>,
    handles: Handles,
}

/// One element of a bind's list.
struct Offer {
    context: u16,
    abstract_syntax: Syntax,
    transfer: Vec<Syntax>,
}

impl Association {
    pub(crate) fn new(interface: Interface) -> Self {
        Self {
            interface,
            bound: false,
            contexts: BTreeMap::new(),
            max_transmit: MAX_FRAGMENT,
            partial: None,
            handles: Handles::default(),
        }
    }

    /// frag_length of the PDU that begins with this header; `None`: no DCE/RPC.
    pub(crate) fn fragment_length(header: &[u8; HEADER_LENGTH]) -> Option<usize> {
        Header::decode(header).map(|h| usize::from(h.fragment_length))
    }

    /// Takes one PDU; gives the PDUs to send.
    ///
    /// # Errors
    /// When the bytes are no PDU a client sends.
    pub(crate) fn pdu(
        &mut self,
        bytes: &[u8],
        facts: &dyn ServerFacts,
    ) -> Result<Vec<Vec<u8>>, NdrError> {
        let (head, body) = bytes.split_first_chunk::<HEADER_LENGTH>().ok_or(NdrError)?;
        let header = Header::decode(head).ok_or(NdrError)?;
        let protocol_error = vec![pdu::fault(header.call_id, 0, FaultStatus::Protocol)];
        Ok(match header.packet_type {
            Some(PacketType::Bind) if self.bound => {
                vec![nak(header.call_id, NakReason::NotSpecified)]
            }
            Some(PacketType::Bind) => self.bind(&header, body)?,
            Some(PacketType::AlterContext) if self.bound => self.bind(&header, body)?,
            Some(PacketType::Request) if self.bound => self.request(&header, body, facts)?,
            Some(PacketType::Cancel | PacketType::Auth3) => Vec::new(),
            Some(PacketType::Orphaned) => {
                self.partial = None;
                Vec::new()
            }
            _ => protocol_error,
        })
    }

    fn bind(&mut self, header: &Header, body: &[u8]) -> Result<Vec<Vec<u8>>, NdrError> {
        let alter = header.packet_type == Some(PacketType::AlterContext);
        if header.auth_length != 0 {
            // The transport has authenticated the client; a second security
            // context on top of it is not served.
            return Ok(vec![if alter {
                pdu::fault(header.call_id, 0, FaultStatus::AccessDenied)
            } else {
                nak(header.call_id, NakReason::AuthenticationType)
            }]);
        }
        let mut reader = NdrReader::new(body, header.big_endian);
        let _max_transmit = reader.u16()?;
        let max_receive = reader.u16()?;
        let group = reader.u32()?;
        let offers = offers(&mut reader)?;
        let features = |o: &Offer| {
            o.transfer
                .first()
                .is_some_and(|(id, v)| is_features(id, *v))
        };
        if offers.iter().filter(|o| features(o)).count() > 1 {
            return Ok(vec![nak(header.call_id, NakReason::NotSpecified)]);
        }
        if !alter {
            self.max_transmit = max_receive.clamp(MIN_FRAGMENT, MAX_FRAGMENT);
        }
        let mut out = Vec::new();
        out.extend_from_slice(&self.max_transmit.to_le_bytes());
        out.extend_from_slice(&MAX_FRAGMENT.to_le_bytes());
        let group = if group == 0 { ASSOCIATION_GROUP } else { group };
        out.extend_from_slice(&group.to_le_bytes());
        let address: &[u8] = if alter { &[] } else { self.interface.address() };
        out.extend_from_slice(&u16::try_from(address.len()).unwrap_or(0).to_le_bytes());
        out.extend_from_slice(address);
        // The header is sixteen bytes: padding of the body is that of the PDU.
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend_from_slice(&[u8::try_from(offers.len()).unwrap_or(0), 0, 0, 0]);
        for offer in &offers {
            let (result, reason, (id, version)) = self.negotiate(offer);
            out.extend_from_slice(&result.to_le_bytes());
            out.extend_from_slice(&reason.to_le_bytes());
            out.extend_from_slice(&id);
            out.extend_from_slice(&version.to_le_bytes());
        }
        self.bound = true;
        let kind = if alter {
            PacketType::AlterContextResponse
        } else {
            PacketType::BindAck
        };
        Ok(vec![pdu::encode(
            kind,
            FIRST_FRAGMENT | LAST_FRAGMENT,
            header.call_id,
            &out,
        )])
    }

    /// The result of one offered context: acceptance 0, provider_rejection 2,
    /// negotiate_ack 3.
    fn negotiate(&mut self, offer: &Offer) -> (u16, u16, Syntax) {
        const NOTHING: Syntax = ([0; 16], 0);
        if let Some((id, version)) = offer.transfer.first()
            && is_features(id, *version)
        {
            let asked = id.get(8).copied().unwrap_or(0);
            return (3, u16::from(asked & KEEP_CONNECTION), NOTHING);
        }
        if !self.interface.has(offer.abstract_syntax) {
            return (2, 1, NOTHING);
        }
        if !offer.transfer.contains(&NDR32) {
            return (2, 2, NOTHING);
        }
        if self.contexts.len() >= MAX_CONTEXTS && !self.contexts.contains_key(&offer.context) {
            return (2, 3, NOTHING);
        }
        self.contexts.insert(offer.context, self.interface);
        (0, 0, NDR32)
    }

    fn request(
        &mut self,
        header: &Header,
        body: &[u8],
        facts: &dyn ServerFacts,
    ) -> Result<Vec<Vec<u8>>, NdrError> {
        let mut reader = NdrReader::new(body, header.big_endian);
        let _alloc_hint = reader.u32()?;
        let context = reader.u16()?;
        let opnum = reader.u16()?;
        let mut start = 8;
        if header.flags & OBJECT_UUID != 0 {
            reader.bytes(16)?;
            start += 16;
        }
        let fault = |status| Ok(vec![pdu::fault(header.call_id, context, status)]);
        if header.auth_length != 0 {
            self.partial = None;
            return fault(FaultStatus::AccessDenied);
        }
        let stub = body.get(start..).unwrap_or_default();
        let first = header.flags & FIRST_FRAGMENT != 0;
        let partial = match self.partial.take() {
            None if first => Partial {
                call_id: header.call_id,
                context,
                opnum,
                big_endian: header.big_endian,
                stub: stub.to_vec(),
            },
            Some(mut partial)
                if !first && partial.call_id == header.call_id && partial.context == context =>
            {
                if partial.stub.len() + stub.len() > MAX_REQUEST {
                    return fault(FaultStatus::NoMemory);
                }
                partial.stub.extend_from_slice(stub);
                partial
            }
            _ => return fault(FaultStatus::Protocol),
        };
        if header.flags & LAST_FRAGMENT == 0 {
            self.partial = Some(partial);
            return Ok(Vec::new());
        }
        let Some(interface) = self.contexts.get(&partial.context).copied() else {
            return fault(FaultStatus::UnknownInterface);
        };
        let mut arguments = NdrReader::new(&partial.stub, partial.big_endian);
        match interface.call(partial.opnum, &mut arguments, facts, &mut self.handles) {
            Ok(stub) => Ok(pdu::response(
                header.call_id,
                context,
                &stub,
                self.max_transmit,
            )),
            Err(CallError::OperationRange) => fault(FaultStatus::OperationRange),
            Err(CallError::BadStub) => fault(FaultStatus::BadStub),
            Err(CallError::ContextMismatch) => fault(FaultStatus::ContextMismatch),
        }
    }
}

fn is_features(id: &[u8; 16], version: u32) -> bool {
    version == 1 && id.starts_with(&FEATURES)
}

fn offers(reader: &mut NdrReader<'_>) -> Result<Vec<Offer>, NdrError> {
    let count = reader.bytes(4)?.first().copied().unwrap_or(0);
    let mut offers = Vec::new();
    for _ in 0..count {
        let context = reader.u16()?;
        let transfers = reader.bytes(2)?.first().copied().unwrap_or(0);
        let abstract_syntax = (reader.uuid()?, reader.u32()?);
        let mut transfer = Vec::new();
        for _ in 0..transfers {
            transfer.push((reader.uuid()?, reader.u32()?));
        }
        offers.push(Offer {
            context,
            abstract_syntax,
            transfer,
        });
    }
    Ok(offers)
}

/// bind_nak, which names the one version served.
fn nak(call_id: u32, reason: NakReason) -> Vec<u8> {
    let [low, high] = (reason as u16).to_le_bytes();
    pdu::encode(
        PacketType::BindNak,
        FIRST_FRAGMENT | LAST_FRAGMENT,
        call_id,
        &[low, high, 1, 5, 0, 0, 0, 0],
    )
}
