//! TRANS2 QUERY_ and SET_ of path, file and file system information: [MS-CIFS]
//! 3.2.4.30 to 3.2.4.36 and, with pass-through levels, [MS-SMB] 3.2.4.8 to
//! 3.2.4.11.

use bytes::Bytes;
use countersign_wire::fscc::{
    AccessInformation, AlignmentInformation, AllInformation, BasicInformation, EaInformation,
    InternalInformation, ModeInformation, PositionInformation, StandardInformation, encode_name,
    file_class, fs_class,
};
use countersign_wire::smb1::info::{FsLevel, PASS_THROUGH, QueryLevel, SetLevel};
use countersign_wire::smb1::trans2::{
    QueryFileInformationParameters, QueryFsInformationParameters, SetFileInformationParameters,
    Trans2, encode_path_information,
};
use countersign_wire::smb1::{Capabilities, Text};
use countersign_wire::{NtStatus, Reader, Writer};

use super::Smb1;
use super::exchange::{Reply, Request};
use super::open::wire_path;
use super::transaction::Transaction;
use crate::client::call::{Answer, CallId, OpenId, PathRequest};
use crate::client::engine::Link;
use crate::client::failure::Failure;

/// What is asked about.
#[derive(Debug, Clone)]
pub(super) enum Target {
    /// An open.
    File { tid: u16, fid: u16 },
    /// A path.
    Path { tid: u16, path: String },
}

impl Smb1 {
    fn target(&self, at: &PathRequest) -> Result<Target, Failure> {
        Ok(Target::Path {
            tid: self.tree(at.tree)?.tid,
            path: wire_path(&at.path, None),
        })
    }

    fn target_of(&self, open: OpenId) -> Result<Target, Failure> {
        let open = self.opened(open)?;
        Ok(match open.fid {
            Some(fid) => Target::File { tid: open.tid, fid },
            None => Target::Path {
                tid: open.tid,
                path: open.path.clone(),
            },
        })
    }

    pub(super) fn query_info(
        &mut self,
        link: &mut Link,
        id: CallId,
        open: OpenId,
        class: u8,
        max: u32,
        input: &[u8],
    ) -> Result<(), Failure> {
        if !input.is_empty() {
            return Err(Failure::Unsupported(
                "SMB1 asks for all extended attributes, not for some by name",
            ));
        }
        let target = self.target_of(open)?;
        self.query(link, id, target, class, max)
    }

    pub(super) fn query_path(
        &mut self,
        link: &mut Link,
        id: CallId,
        at: &PathRequest,
        class: u8,
        max: u32,
    ) -> Result<(), Failure> {
        let target = self.target(at)?;
        self.query(link, id, target, class, max)
    }

    fn query(
        &mut self,
        link: &mut Link,
        id: CallId,
        target: Target,
        class: u8,
        max: u32,
    ) -> Result<(), Failure> {
        let pass_through = self.server.can(Capabilities::INFOLEVEL_PASSTHRU);
        match class {
            // Over SMB1 these two have forms of their own.
            file_class::ALL => self.query_all(link, id, target, pass_through),
            file_class::NETWORK_OPEN if !pass_through => {
                let request =
                    self.query_request(&target, QueryLevel::AllInfo as u16, ALL_INFO_ROOM);
                self.send(link, id, request, move |me, link, reply| {
                    let answer = reply
                        .and_then(Reply::success)
                        .and_then(|reply| all_info(&reply, 0))
                        .map(|all| Answer::Info(network_open(&all)));
                    me.finish(link, id, answer);
                });
            }
            _ => {
                let level = query_level(class, pass_through)
                    .ok_or(Failure::Unsupported("the server does not tell that"))?;
                let request = self.query_request(&target, level, max);
                let is_name = matches!(class, file_class::NAME | file_class::ALTERNATE_NAME);
                self.send(link, id, request, move |me, link, reply| {
                    let answer = reply
                        .and_then(|reply| reply.allow(&[NtStatus::BUFFER_OVERFLOW]))
                        .map(|reply| Answer::Info(unicode_name(reply, is_name)));
                    me.finish(link, id, answer);
                });
            }
        }
        Ok(())
    }

    /// FileAllInformation, put together: SMB_QUERY_FILE_ALL_INFO is shorter.
    fn query_all(&mut self, link: &mut Link, id: CallId, target: Target, pass_through: bool) {
        if !pass_through {
            return self.query_rest(link, id, &target, 0);
        }
        let level = PASS_THROUGH.saturating_add(u16::from(file_class::INTERNAL));
        let request = self.query_request(&target, level, 64);
        self.send(link, id, request, move |me, link, reply| {
            match reply {
                Ok(reply) => {
                    // Not every server knows the number of a file.
                    let index = InternalInformation::decode(&reply.transaction.data)
                        .map_or(0, |i| i.index_number);
                    me.query_rest(link, id, &target, index);
                }
                Err(failure) => me.finish(link, id, Err(failure)),
            }
        });
    }

    fn query_rest(&mut self, link: &mut Link, id: CallId, target: &Target, index: u64) {
        let request = self.query_request(target, QueryLevel::AllInfo as u16, ALL_INFO_ROOM);
        self.send(link, id, request, move |me, link, reply| {
            let answer = reply
                .and_then(Reply::success)
                .and_then(|reply| all_info(&reply, index))
                .map(|all| {
                    let mut out = Vec::new();
                    all.encode(&mut Writer::new(&mut out));
                    Answer::Info(out.into())
                });
            me.finish(link, id, answer);
        });
    }

    fn query_request(&self, target: &Target, level: u16, max: u32) -> Request {
        let max_data = max.clamp(1, self.server.max_transact);
        match target {
            Target::File { tid, fid } => {
                let parameters = QueryFileInformationParameters {
                    fid: *fid,
                    information_level: level,
                };
                Transaction {
                    max_parameters: 2,
                    max_data,
                    ..Transaction::two(
                        Trans2::QUERY_FILE_INFORMATION,
                        parameters.to_vec(),
                        Vec::new(),
                    )
                }
                .request(*tid, "TRANS2_QUERY_FILE_INFORMATION")
            }
            Target::Path { tid, path } => Transaction {
                max_parameters: 2,
                max_data,
                ..Transaction::two(
                    Trans2::QUERY_PATH_INFORMATION,
                    encode_path_information(level, path, self.server.text),
                    Vec::new(),
                )
            }
            .request(*tid, "TRANS2_QUERY_PATH_INFORMATION"),
        }
    }

    pub(super) fn set_info(
        &mut self,
        link: &mut Link,
        id: CallId,
        open: OpenId,
        class: u8,
        data: Vec<u8>,
    ) -> Result<(), Failure> {
        let target = self.target_of(open)?;
        let request = self.set_request(&target, class, data)?;
        self.send_simple(link, id, request);
        Ok(())
    }

    pub(super) fn set_path(
        &mut self,
        link: &mut Link,
        id: CallId,
        at: &PathRequest,
        class: u8,
        data: Vec<u8>,
    ) -> Result<(), Failure> {
        let target = self.target(at)?;
        let request = self.set_request(&target, class, data)?;
        self.send_simple(link, id, request);
        Ok(())
    }

    /// A request that sets a class.
    pub(super) fn set_request(
        &self,
        target: &Target,
        class: u8,
        data: Vec<u8>,
    ) -> Result<Request, Failure> {
        let pass_through = self.server.can(Capabilities::INFOLEVEL_PASSTHRU);
        let level = set_level(class, pass_through)
            .ok_or(Failure::Unsupported("the server does not set that"))?;
        Ok(match target {
            Target::File { tid, fid } => {
                let mut parameters = SetFileInformationParameters {
                    fid: *fid,
                    information_level: level,
                }
                .to_vec();
                parameters.extend([0, 0]);
                Transaction {
                    max_parameters: 2,
                    ..Transaction::two(Trans2::SET_FILE_INFORMATION, parameters, data)
                }
                .request(*tid, "TRANS2_SET_FILE_INFORMATION")
            }
            Target::Path { tid, path } => Transaction {
                max_parameters: 2,
                ..Transaction::two(
                    Trans2::SET_PATH_INFORMATION,
                    encode_path_information(level, path, self.server.text),
                    data,
                )
            }
            .request(*tid, "TRANS2_SET_PATH_INFORMATION"),
        })
    }

    pub(super) fn query_filesystem(
        &mut self,
        link: &mut Link,
        id: CallId,
        open: OpenId,
        class: u8,
        max: u32,
    ) -> Result<(), Failure> {
        let tid = self.opened(open)?.tid;
        let level = match class {
            fs_class::VOLUME => FsLevel::VolumeInfo as u16,
            fs_class::SIZE => FsLevel::SizeInfo as u16,
            fs_class::DEVICE => FsLevel::DeviceInfo as u16,
            fs_class::ATTRIBUTE => FsLevel::AttributeInfo as u16,
            _ if self.server.can(Capabilities::INFOLEVEL_PASSTHRU) => {
                PASS_THROUGH.saturating_add(u16::from(class))
            }
            _ => return Err(Failure::Unsupported("the server does not tell that")),
        };
        let parameters = QueryFsInformationParameters {
            information_level: level,
        };
        let request = Transaction {
            max_parameters: 0,
            max_data: max.clamp(1, self.server.max_transact),
            ..Transaction::two(
                Trans2::QUERY_FS_INFORMATION,
                parameters.to_vec(),
                Vec::new(),
            )
        }
        .request(tid, "TRANS2_QUERY_FS_INFORMATION");
        self.send(link, id, request, move |me, link, reply| {
            let answer = reply
                .and_then(|reply| reply.allow(&[NtStatus::BUFFER_OVERFLOW]))
                .map(|reply| Answer::Info(reply.transaction.data.into()));
            me.finish(link, id, answer);
        });
        Ok(())
    }
}

/// Room for SMB_QUERY_FILE_ALL_INFO with the longest path.
const ALL_INFO_ROOM: u32 = 0xFFFF;

/// The level that gives a class, [MS-SMB] 2.2.2.3.5.
fn query_level(class: u8, pass_through: bool) -> Option<u16> {
    if pass_through {
        return Some(PASS_THROUGH.saturating_add(u16::from(class)));
    }
    let level = match class {
        file_class::BASIC => QueryLevel::BasicInfo,
        file_class::STANDARD => QueryLevel::StandardInfo,
        file_class::EA => QueryLevel::EaInfo,
        file_class::NAME => QueryLevel::NameInfo,
        file_class::ALTERNATE_NAME => QueryLevel::AltNameInfo,
        file_class::STREAM => QueryLevel::StreamInfo,
        file_class::COMPRESSION => QueryLevel::CompressionInfo,
        _ => return None,
    };
    Some(level as u16)
}

fn set_level(class: u8, pass_through: bool) -> Option<u16> {
    if pass_through {
        return Some(PASS_THROUGH.saturating_add(u16::from(class)));
    }
    let level = match class {
        file_class::BASIC => SetLevel::BasicInfo,
        file_class::DISPOSITION => SetLevel::DispositionInfo,
        file_class::ALLOCATION => SetLevel::AllocationInfo,
        file_class::END_OF_FILE => SetLevel::EndOfFileInfo,
        _ => return None,
    };
    Some(level as u16)
}

/// SMB_QUERY_FILE_ALL_INFO, [MS-CIFS] 2.2.8.3.8, as FileAllInformation.
fn all_info(reply: &Reply, index: u64) -> Result<AllInformation, Failure> {
    decode_all_info(&reply.transaction.data, reply.text, index).map_err(|_| reply.malformed())
}

fn decode_all_info(
    data: &[u8],
    text: Text,
    index: u64,
) -> countersign_wire::cursor::Result<AllInformation> {
    let mut r = Reader::new(data);
    let basic = BasicInformation::decode(r.take(BasicInformation::LEN, "Basic")?)?;
    let standard = StandardInformation::decode(r.take(StandardInformation::LEN, "Standard")?)?;
    let ea_size = r.u32("EaSize")?;
    let length = usize::try_from(r.u32("FileNameLength")?).unwrap_or(usize::MAX);
    // Some servers count a terminator that they do not send.
    let name = r.take(length.min(r.remaining()), "FileName")?;
    Ok(AllInformation {
        basic,
        standard,
        internal: InternalInformation {
            index_number: index,
        },
        ea: EaInformation { ea_size },
        access: AccessInformation {
            access: Default::default(),
        },
        position: PositionInformation { position: 0 },
        mode: ModeInformation { mode: 0 },
        alignment: AlignmentInformation { alignment: 0 },
        name: text.decode(name),
    })
}

/// FileNetworkOpenInformation, [MS-FSCC] 2.4.34.
fn network_open(all: &AllInformation) -> Bytes {
    let mut out = Vec::new();
    let mut w = Writer::new(&mut out);
    for time in [
        all.basic.creation,
        all.basic.last_access,
        all.basic.last_write,
        all.basic.change,
    ] {
        w.u64(time.0);
    }
    w.u64(all.standard.allocation_size);
    w.u64(all.standard.end_of_file);
    w.u32(all.basic.attributes.bits());
    w.u32(0);
    out.into()
}

/// A name of a server without Unicode, as [MS-FSCC] has it.
fn unicode_name(reply: Reply, is_name: bool) -> Bytes {
    let text = reply.text;
    let data = reply.transaction.data;
    if !is_name || text.unicode {
        return data.into();
    }
    let mut r = Reader::new(&data);
    let name = match r.skip(4, "FileNameLength") {
        Ok(()) => text.decode(r.rest()),
        Err(_) => String::new(),
    };
    let mut out = Vec::new();
    encode_name(&name, &mut Writer::new(&mut out));
    out.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail loudly")]
mod tests {
    use super::*;
    use countersign_wire::FileTime;
    use countersign_wire::fscc::FileAttributes;
    use countersign_wire::smb1::CodePage;

    #[test]
    fn all_information_is_put_together() {
        let basic = BasicInformation {
            creation: FileTime(1),
            last_access: FileTime(2),
            last_write: FileTime(3),
            change: FileTime(4),
            attributes: FileAttributes::ARCHIVE,
        };
        let standard = StandardInformation {
            allocation_size: 4096,
            end_of_file: 10,
            links: 1,
            delete_pending: false,
            directory: false,
        };
        for unicode in [true, false] {
            let text = Text {
                unicode,
                code_page: CodePage::Cp850,
            };
            let mut data = Vec::new();
            let mut w = Writer::new(&mut data);
            basic.encode(&mut w);
            standard.encode(&mut w);
            w.u32(7);
            let name = text.encode(r"\zwölf");
            w.u32(u32::try_from(name.len()).unwrap());
            w.bytes(&name);
            let all = decode_all_info(&data, text, 9).unwrap();
            assert_eq!((all.basic, all.standard), (basic, standard));
            assert_eq!((all.internal.index_number, all.ea.ea_size), (9, 7));
            assert_eq!(all.name, r"\zwölf");
            assert_eq!(network_open(&all).len(), 56);
            assert!(decode_all_info(data.get(..70).unwrap(), text, 9).is_err());
        }
    }
}
