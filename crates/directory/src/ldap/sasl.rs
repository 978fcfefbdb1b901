//! [RFC 4752]: SASL GSSAPI, and the layer that seals what follows it.

use countersign_gssapi::Established;

use crate::error::Error;

/// The layer "confidentiality".
const SEALED: u8 = 4;
/// Largest buffer taken from a server: the most that three bytes can say.
pub(super) const LARGEST: usize = 0x00FF_FFFF;

const DOING: &str = "LDAP bind";

/// Answers the server's offer of layers: sealed or nothing.
pub(super) fn choose(context: &mut Established, offer: &[u8]) -> Result<(Vec<u8>, usize), Error> {
    let offer = context.unwrap(offer)?.message;
    let [layers, largest @ ..] = <[u8; 4]>::try_from(offer.as_slice())
        .map_err(|_| Error::peer(DOING, "an offer of security layers that is not four bytes"))?;
    if layers & SEALED == 0 {
        return Err(Error::peer(DOING, "the server offers no sealed connection"));
    }
    let [high, middle, low] = largest;
    let largest = u32::from_be_bytes([0, high, middle, low]);
    // The whole answer: layer, our largest buffer, no other identity.
    let answer = context.wrap(false, &[SEALED, 0xFF, 0xFF, 0xFF])?;
    Ok((answer, usize::try_from(largest).unwrap_or(LARGEST)))
}

/// A message with its length before it.
pub(super) fn seal(
    context: &mut Established,
    message: &[u8],
    largest: usize,
) -> Result<Vec<u8>, Error> {
    let sealed = context.wrap(true, message)?;
    let length = u32::try_from(sealed.len())
        .ok()
        .filter(|_| sealed.len() <= largest);
    let length =
        length.ok_or_else(|| Error::peer(DOING, "a request larger than the server takes"))?;
    let mut out = length.to_be_bytes().to_vec();
    out.extend(sealed);
    Ok(out)
}

/// What a buffer of the server holds; it must have been encrypted.
pub(super) fn open(context: &mut Established, buffer: &[u8]) -> Result<Vec<u8>, Error> {
    let opened = context.unwrap(buffer)?;
    if opened.confidential {
        Ok(opened.message)
    } else {
        Err(Error::peer("LDAP", "a message that is not encrypted"))
    }
}
