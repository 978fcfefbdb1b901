//! [MS-SMB2] 3.2.4.3 CREATE and 3.2.5.7 its response.

use countersign_wire::fscc::{CreateAction, FileAttributes, LeaseState, OplockLevel};
use countersign_wire::smb2::{
    Capabilities, Command, CreateContext, CreateRequest, CreateResponse, DurableFlags, FileId,
    LeaseContext, LeaseFlags, LeaseV2, OPLOCK_LEVEL_LEASE, RequestContext, ResponseContext,
    dialect,
};
use countersign_wire::{NtStatus, Writer};

use super::flight::{OpenFacts, Part};
use super::{Open, Smb2};
use crate::client::call::{Caching, Granted, OpenId, OpenRequest, Opened, TreeId, Written};
use crate::client::engine::Link;
use crate::client::failure::Failure;

/// Impersonation.
const IMPERSONATION: u32 = 2;

impl Smb2 {
    fn leases(&self) -> bool {
        self.agreed.as_ref().is_some_and(|a| {
            a.dialect >= dialect::SMB_2_1 && a.capabilities.contains(Capabilities::LEASING)
        })
    }

    /// CREATE, and what its response will be measured by.
    pub(super) fn create(&self, tree: TreeId, request: &OpenRequest) -> (Part, OpenFacts) {
        let revision = self.dialect();
        let mut facts = OpenFacts {
            tree,
            durable: None,
            lease: None,
        };
        let dfs = self.trees.get(&tree).and_then(|t| t.dfs.as_deref());
        let path = match dfs {
            Some(root) if request.path.is_empty() => root.to_owned(),
            Some(root) => format!(r"{root}\{}", request.path),
            None => request.path.clone(),
        };
        let name: Vec<u8> = path.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let mut wanted: Vec<RequestContext<'_>> = Vec::new();
        let oplock_level = match request.caching {
            Caching::None => OplockLevel::None as u8,
            Caching::Oplock(level) => level as u8,
            Caching::Lease { key, state } if self.leases() => {
                wanted.push(RequestContext::Lease(LeaseContext {
                    key,
                    state,
                    flags: LeaseFlags::empty(),
                    v2: (revision >= dialect::SMB_3_0).then(LeaseV2::default),
                }));
                facts.lease = Some(key);
                OPLOCK_LEVEL_LEASE
            }
            // Without leases the oplock that caches the same. One that shuts
            // others out is not worth a handle's durability.
            Caching::Lease { state, .. } if state.contains(LeaseState::WRITE) => {
                OplockLevel::Batch as u8
            }
            Caching::Lease { .. } => OplockLevel::LevelTwo as u8,
        };
        if let Some(reconnect) = &request.reconnect {
            let file_id = FileId {
                persistent: reconnect.persistent,
                volatile: reconnect.volatile,
            };
            wanted.push(match reconnect.create_guid {
                Some(create_guid) => RequestContext::DurableReconnectV2 {
                    file_id,
                    create_guid,
                    flags: DurableFlags::empty(),
                },
                None => RequestContext::DurableReconnect(FileId {
                    volatile: 0,
                    ..file_id
                }),
            });
        } else if let Some(durable) = &request.durable {
            if revision >= dialect::SMB_3_0 {
                facts.durable = Some(durable.create_guid);
                wanted.push(RequestContext::DurableRequestV2 {
                    timeout: durable.timeout,
                    flags: DurableFlags::empty(),
                    create_guid: durable.create_guid,
                });
            } else {
                wanted.push(RequestContext::DurableRequest);
            }
        }
        if request.reconnect.is_none() {
            if let Some(descriptor) = &request.security_descriptor {
                wanted.push(RequestContext::SecurityDescriptor(descriptor));
            }
            if let Some(size) = request.allocation_size {
                wanted.push(RequestContext::AllocationSize(size));
            }
            if request.maximal_access {
                wanted.push(RequestContext::MaximalAccess(None));
            }
        }
        if let Some(at) = request.snapshot {
            wanted.push(RequestContext::Timewarp(at));
        }
        let contexts: Vec<CreateContext<'_>> =
            wanted.iter().map(RequestContext::to_context).collect();
        let body = CreateRequest {
            oplock_level,
            impersonation_level: IMPERSONATION,
            desired_access: request.access,
            file_attributes: request.attributes,
            share_access: request.share,
            disposition: request.disposition as u32,
            options: request.options,
            name: &name,
            contexts,
        };
        let mut part = Part::new(Command::CREATE, |w: &mut Writer<'_>| body.encode(w));
        part.dfs = dfs.is_some();
        (part, facts)
    }

    /// What a CREATE response says, without taking the open in.
    pub(super) fn created(message: &[u8]) -> Result<CreateResponse<'_>, Failure> {
        CreateResponse::decode(message).map_err(|_| Failure::Malformed { command: "CREATE" })
    }

    /// Takes an open in; the open is the server's until it is closed.
    pub(super) fn opened(
        &mut self,
        link: &Link,
        facts: &OpenFacts,
        response: &CreateResponse<'_>,
    ) -> Result<Opened, Failure> {
        if self.opens.len() >= link.config.limits.opens {
            return Err(Failure::Limit("too many files are open on this connection"));
        }
        let mut granted = Granted {
            persistent: response.file_id.persistent,
            volatile: response.file_id.volatile,
            caching: match response.oplock_level {
                1 => Caching::Oplock(OplockLevel::LevelTwo),
                8 => Caching::Oplock(OplockLevel::Exclusive),
                9 => Caching::Oplock(OplockLevel::Batch),
                _ => Caching::None,
            },
            ..Granted::default()
        };
        for context in &response.contexts {
            let Ok(context) = ResponseContext::decode(context) else {
                return Err(Failure::Malformed { command: "CREATE" });
            };
            match context {
                ResponseContext::Durable => granted.durable = Some(None),
                ResponseContext::DurableV2 { .. } if facts.durable.is_some() => {
                    granted.durable = Some(facts.durable);
                }
                ResponseContext::MaximalAccess { status, access }
                    if status == NtStatus::SUCCESS =>
                {
                    granted.maximal_access = Some(access);
                }
                ResponseContext::Lease(lease) if facts.lease == Some(lease.key) => {
                    granted.caching = if lease.state.is_empty() {
                        Caching::None
                    } else {
                        Caching::Lease {
                            key: lease.key,
                            state: lease.state,
                        }
                    };
                }
                _ => {}
            }
        }
        let open = OpenId(self.next_open);
        self.next_open += 1;
        self.opens.insert(
            open,
            Open {
                file_id: response.file_id,
                tree: facts.tree,
                caching: granted.caching,
            },
        );
        Ok(Opened {
            open,
            action: match response.action {
                0 => CreateAction::Superseded,
                2 => CreateAction::Created,
                3 => CreateAction::Overwritten,
                _ => CreateAction::Opened,
            },
            facts: written(response),
            directory: response.file_attributes.contains(FileAttributes::DIRECTORY),
            granted,
        })
    }

    /// What was opened and is closed again in the same chain.
    pub(super) fn passing(response: &CreateResponse<'_>) -> Opened {
        Opened {
            open: OpenId(0),
            action: CreateAction::Opened,
            facts: written(response),
            directory: response.file_attributes.contains(FileAttributes::DIRECTORY),
            granted: Granted::default(),
        }
    }
}

pub(super) fn written(response: &CreateResponse<'_>) -> Written {
    Written {
        creation: response.creation_time,
        last_access: response.last_access_time,
        last_write: response.last_write_time,
        change: response.change_time,
        allocation_size: response.allocation_size,
        end_of_file: response.end_of_file,
        attributes: response.file_attributes,
    }
}
