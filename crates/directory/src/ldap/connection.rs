//! A connection to a controller.

use std::net::SocketAddr;
use std::time::Duration;

use countersign_gssapi::{Established, Flags, InitiatorContext, Step};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::machine::Machine;
use super::message::{self, Change, Entry, LdapResult, Message, Operation, Scope};
use super::{Filter, sasl};
use crate::error::Error;
use crate::netlogon::Netlogon;

/// Entries asked for in one page.
const PAGE: u32 = 500;
/// saslBindInProgress.
const IN_PROGRESS: u32 = 14;
/// noSuchObject.
const NO_SUCH_OBJECT: u32 = 32;
/// Most exchanges of one bind.
const MOST_STEPS: usize = 8;

/// Limits of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Time for one operation.
    pub patience: Duration,
    /// Time for getting tickets and binding.
    pub bind_patience: Duration,
    /// Entries of one search.
    pub entries: usize,
    /// Bytes of one search's entries.
    pub bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            patience: Duration::from_secs(15),
            bind_patience: Duration::from_secs(30),
            entries: 10_000,
            bytes: 64 << 20,
        }
    }
}

/// A search.
#[derive(Debug, Clone)]
pub struct Search<'a> {
    /// Where.
    pub base: &'a str,
    /// How deep.
    pub scope: Scope,
    /// For what.
    pub filter: Filter,
    /// Which attributes.
    pub attributes: &'a [&'a str],
}

/// A connection to a controller, sealed by Kerberos.
pub struct Ldap {
    stream: TcpStream,
    context: Option<Established>,
    /// Largest buffer the server takes.
    largest: usize,
    /// What came and is not yet a whole message.
    received: Vec<u8>,
    last_id: u32,
    limits: Limits,
}

impl std::fmt::Debug for Ldap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ldap")
            .field("peer", &self.stream.peer_addr().ok())
            .finish_non_exhaustive()
    }
}

async fn within<T>(
    patience: Duration,
    doing: &'static str,
    what: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(patience, what).await.unwrap_or(Err(Error::Slow {
        doing,
        seconds: patience.as_secs(),
    }))
}

impl Ldap {
    /// Connects to the controller `host` at `address` and binds. The ticket is for
    /// `ldap/HOST/DOMAIN`, a name only controllers of that domain have: whoever answers
    /// instead cannot read it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn open(
        address: SocketAddr,
        host: &str,
        domain: &str,
        machine: &Machine,
        limits: Limits,
    ) -> Result<Ldap, Error> {
        let stream = within(limits.patience, "connecting to LDAP", async {
            TcpStream::connect(address)
                .await
                .map_err(Error::io("connecting to LDAP"))
        })
        .await?;
        let _ = stream.set_nodelay(true);
        let mut ldap = Ldap {
            stream,
            context: None,
            largest: sasl::LARGEST,
            received: Vec::new(),
            last_id: 0,
            limits,
        };
        // Of another domain of the forest Kerberos finds the realm by referrals.
        let target = if domain.eq_ignore_ascii_case(machine.domain()) {
            format!("ldap/{host}/{domain}@{}", machine.realm())
        } else {
            format!("ldap/{host}/{domain}@{}", domain.to_uppercase())
        };
        let context = InitiatorContext::new(machine.credential().clone(), &target, Flags::SEALED)?;
        within(limits.bind_patience, "LDAP bind", ldap.bind(context)).await?;
        Ok(ldap)
    }

    async fn bind(&mut self, mut initiator: InitiatorContext) -> Result<(), Error> {
        let mut token: Option<Vec<u8>> = None;
        let mut established = None;
        for _ in 0..MOST_STEPS {
            let mut finishing = None;
            let credentials = match &mut established {
                None => {
                    let given = token.take();
                    let (back, step) = tokio::task::spawn_blocking(move || {
                        let step = initiator.step(given.as_deref());
                        (initiator, step)
                    })
                    .await
                    .map_err(|error| Error::peer("LDAP bind", error.to_string()))?;
                    initiator = back;
                    match step? {
                        Step::Continue { token } => token,
                        Step::Done { token, context } => {
                            established = Some(context);
                            token
                        }
                    }
                }
                Some(context) => {
                    let offer = token.take().unwrap_or_default();
                    let (answer, largest) = sasl::choose(context, &offer)?;
                    finishing = Some(largest);
                    answer
                }
            };
            let id = self
                .send(message::bind("GSSAPI", &credentials), Vec::new())
                .await?;
            let answer = self.receive(id).await?;
            let Operation::Bind(result, back) = answer.operation else {
                return Err(Error::peer("LDAP bind", "an answer to something else"));
            };
            match (result.code, finishing) {
                (0, Some(largest)) => {
                    if !self.received.is_empty() {
                        return Err(Error::peer("LDAP bind", "bytes behind the last answer"));
                    }
                    self.largest = largest;
                    self.context = established;
                    return Ok(());
                }
                (IN_PROGRESS, None) => token = Some(back.unwrap_or_default()),
                (0 | IN_PROGRESS, _) => {
                    return Err(Error::peer("LDAP bind", "an end where none belongs"));
                }
                _ => return Err(refused("LDAP bind".to_owned(), result)),
            }
        }
        Err(Error::peer("LDAP bind", "no end of the exchange"))
    }

    async fn send(
        &mut self,
        operation: lber::structure::StructureTag,
        controls: Vec<lber::structure::StructureTag>,
    ) -> Result<u32, Error> {
        self.last_id = self.last_id.wrapping_add(1) & 0x7FFF_FFFF;
        let mut bytes = message::encode(self.last_id, operation, controls);
        if let Some(context) = &mut self.context {
            bytes = sasl::seal(context, &bytes, self.largest)?;
        }
        self.stream
            .write_all(&bytes)
            .await
            .map_err(Error::io("sending to LDAP"))?;
        Ok(self.last_id)
    }

    /// The next message to a request.
    async fn receive(&mut self, id: u32) -> Result<Message, Error> {
        loop {
            let length =
                message::length(&self.received).map_err(|what| Error::peer("LDAP", what))?;
            if let Some(length) = length.filter(|length| self.received.len() >= *length) {
                let bytes: Vec<u8> = self.received.drain(..length).collect();
                let message = message::decode(&bytes).map_err(|what| Error::peer("LDAP", what))?;
                match (message.id, &message.operation) {
                    (0, Operation::Extended(result)) => {
                        return Err(refused("LDAP connection".to_owned(), result.clone()));
                    }
                    (answered, _) if answered == id => return Ok(message),
                    _ => return Err(Error::peer("LDAP", "an answer to nothing that was asked")),
                }
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), Error> {
        const DOING: &str = "receiving from LDAP";
        let Some(context) = &mut self.context else {
            let read = self
                .stream
                .read_buf(&mut self.received)
                .await
                .map_err(Error::io(DOING))?;
            if read == 0 {
                return Err(Error::peer("LDAP", "the connection is closed"));
            }
            return Ok(());
        };
        let length = self.stream.read_u32().await.map_err(Error::io(DOING))?;
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= sasl::LARGEST)
            .ok_or_else(|| Error::peer("LDAP", "a buffer larger than was agreed"))?;
        let mut buffer = vec![0; length];
        self.stream
            .read_exact(&mut buffer)
            .await
            .map_err(Error::io(DOING))?;
        self.received.extend(sasl::open(context, &buffer)?);
        Ok(())
    }

    /// Searches, page after page. Referrals are not followed. Of security descriptors
    /// only the DACL is asked for: the rest needs rights a machine has not.
    ///
    /// # Errors
    /// [`Error`]; a base that does not exist has no entries.
    pub async fn search(&mut self, search: &Search<'_>) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        let mut bytes = 0usize;
        let mut cookie = Vec::new();
        let paged = search.scope != Scope::Base;
        loop {
            let patience = self.limits.patience;
            let page = self.page(
                search,
                paged.then_some(cookie.as_slice()),
                &mut entries,
                &mut bytes,
            );
            match within(patience, "LDAP search", page).await? {
                Some(next) if !next.is_empty() => cookie = next,
                _ => return Ok(entries),
            }
        }
    }

    async fn page(
        &mut self,
        search: &Search<'_>,
        cookie: Option<&[u8]>,
        entries: &mut Vec<Entry>,
        bytes: &mut usize,
    ) -> Result<Option<Vec<u8>>, Error> {
        let mut controls = Vec::new();
        if search.attributes.contains(&"nTSecurityDescriptor") {
            controls.push(message::sd_flags(4));
        }
        if let Some(cookie) = cookie {
            controls.push(message::paged(PAGE, cookie));
        }
        let request = message::search(search.base, search.scope, &search.filter, search.attributes);
        let id = self.send(request, controls).await?;
        loop {
            let message = self.receive(id).await?;
            match message.operation {
                Operation::Entry(entry) => {
                    *bytes = bytes.saturating_add(entry.size());
                    entries.push(entry);
                    if entries.len() > self.limits.entries || *bytes > self.limits.bytes {
                        return Err(Error::peer("LDAP search", "more entries than are taken"));
                    }
                }
                Operation::Reference => {}
                Operation::Done(result) => {
                    return match result.code {
                        0 => Ok(message.cookie),
                        NO_SUCH_OBJECT => Ok(None),
                        _ => Err(refused(format!("LDAP search in `{}`", search.base), result)),
                    };
                }
                _ => return Err(Error::peer("LDAP search", "an answer to something else")),
            }
        }
    }

    /// One object.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn object(&mut self, dn: &str, attributes: &[&str]) -> Result<Option<Entry>, Error> {
        let search = Search {
            base: dn,
            scope: Scope::Base,
            filter: Filter::any(),
            attributes,
        };
        Ok(self.search(&search).await?.into_iter().next())
    }

    /// What the server says of itself.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn root(&mut self) -> Result<Entry, Error> {
        let attributes = [
            "defaultNamingContext",
            "configurationNamingContext",
            "dnsHostName",
        ];
        let root = self.object("", &attributes).await?;
        root.ok_or_else(|| Error::peer("LDAP", "the server has no rootDSE"))
    }

    /// The ping over this connection: its answer is as trustworthy as the connection.
    ///
    /// # Errors
    /// [`Error`]; a server that does not answer pings here gives `None`.
    pub async fn netlogon(&mut self, domain: &str) -> Result<Option<Netlogon>, Error> {
        let search = Search {
            base: "",
            scope: Scope::Base,
            filter: message::ping_filter(domain),
            attributes: &["Netlogon"],
        };
        let entries = match self.search(&search).await {
            Err(Error::Ldap { .. }) => return Ok(None),
            other => other?,
        };
        let value = entries.first().and_then(|entry| entry.value("Netlogon"));
        Ok(value.and_then(|bytes| Netlogon::decode(bytes).ok()))
    }

    /// Adds an object.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn add(
        &mut self,
        dn: &str,
        attributes: &[(&str, Vec<Vec<u8>>)],
    ) -> Result<(), Error> {
        let patience = self.limits.patience;
        let doing = format!("adding `{dn}`");
        within(patience, "LDAP add", async {
            let id = self.send(message::add(dn, attributes), Vec::new()).await?;
            match self.receive(id).await?.operation {
                Operation::Add(result) if result.code == 0 => Ok(()),
                Operation::Add(result) => Err(refused(doing, result)),
                _ => Err(Error::peer("LDAP add", "an answer to something else")),
            }
        })
        .await
    }

    /// Changes an object.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn modify(&mut self, dn: &str, changes: &[Change]) -> Result<(), Error> {
        let patience = self.limits.patience;
        let doing = format!("changing `{dn}`");
        within(patience, "LDAP modify", async {
            let id = self.send(message::modify(dn, changes), Vec::new()).await?;
            match self.receive(id).await?.operation {
                Operation::Modify(result) if result.code == 0 => Ok(()),
                Operation::Modify(result) => Err(refused(doing, result)),
                _ => Err(Error::peer("LDAP modify", "an answer to something else")),
            }
        })
        .await
    }

    /// Takes leave.
    pub async fn close(mut self) {
        // Whether the server still hears it does not matter.
        let _ = timeout(
            Duration::from_secs(1),
            self.send(message::unbind(), Vec::new()),
        )
        .await;
    }
}

fn refused(doing: String, result: LdapResult) -> Error {
    Error::Ldap {
        doing,
        code: result.code,
        name: message::code_name(result.code),
        text: Some(result.text).filter(|text| !text.is_empty()),
    }
}
