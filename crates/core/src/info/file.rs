//! What is told about a file.

use countersign_fs::{Ea, Metadata, Open, StreamFacts};
use countersign_wire::fscc::{
    AccessInformation, AccessMask, AlignmentInformation, AllInformation, AttributeTagInformation,
    BasicInformation, CompressionInformation, EaInformation, FullEa, IdInformation,
    InternalInformation, ModeInformation, NetworkOpenInformation, PositionInformation,
    StandardInformation, StandardLinkInformation, StreamInformation, encode_name, file_class,
};
use countersign_wire::{NtStatus, Writer};

use super::{Info, attributes};

/// Which call of the file service a class is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileSource {
    /// `FsCall::Stat`, then [`file()`].
    Stat,
    /// `FsCall::Streams`, then [`streams`].
    Streams,
    /// `FsCall::ShortName`, then [`name`].
    ShortName,
    /// `FsCall::NormalizedName`, then [`name`].
    NormalizedName,
    /// `FsCall::QueryEa`, then [`eas`].
    Eas,
}

/// Which call a class needs; `None` for a class that cannot be asked for.
pub fn file_source(class: u8) -> Option<FileSource> {
    Some(match class {
        file_class::BASIC
        | file_class::STANDARD
        | file_class::INTERNAL
        | file_class::EA
        | file_class::ACCESS
        | file_class::NAME
        | file_class::POSITION
        | file_class::MODE
        | file_class::ALIGNMENT
        | file_class::ALL
        | file_class::COMPRESSION
        | file_class::NETWORK_OPEN
        | file_class::ATTRIBUTE_TAG
        | file_class::STANDARD_LINK
        | file_class::ID => FileSource::Stat,
        file_class::STREAM => FileSource::Streams,
        file_class::ALTERNATE_NAME => FileSource::ShortName,
        file_class::NORMALIZED_NAME => FileSource::NormalizedName,
        file_class::FULL_EA => FileSource::Eas,
        _ => return None,
    })
}

/// The right an open needs for a class, [MS-FSA] 2.1.5.12.
pub fn needed_right(class: u8) -> AccessMask {
    match class {
        file_class::BASIC
        | file_class::ALL
        | file_class::NETWORK_OPEN
        | file_class::ATTRIBUTE_TAG => AccessMask::READ_ATTRIBUTES,
        file_class::FULL_EA => AccessMask::READ_EA,
        _ => AccessMask::empty(),
    }
}

/// What an open tells beside its stat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// Rights granted.
    pub access: AccessMask,
    /// Current position.
    pub position: u64,
    /// Mode.
    pub mode: u32,
    /// Deletion is pending.
    pub delete_pending: bool,
    /// Path from the share's root, `\` first.
    pub name: String,
}

impl FileFacts {
    /// Of an open as it stands now.
    pub fn of(open: &Open) -> Self {
        Self {
            access: open.granted_access(),
            position: open.position(),
            mode: open.mode(),
            delete_pending: open.delete_pending(),
            name: format!("\\{}", open.path()),
        }
    }
}

fn info(least: usize, encode: impl FnOnce(&mut Writer<'_>)) -> Info {
    let mut data = Vec::with_capacity(least);
    encode(&mut Writer::new(&mut data));
    Info { data, least }
}

fn basic(m: &Metadata) -> BasicInformation {
    BasicInformation {
        creation: m.times.creation,
        last_access: m.times.last_access,
        last_write: m.times.last_write,
        change: m.times.change,
        attributes: attributes(m.attributes),
    }
}

fn standard(m: &Metadata, f: &FileFacts) -> StandardInformation {
    StandardInformation {
        allocation_size: m.allocation_size,
        end_of_file: m.end_of_file,
        links: links(m, f),
        delete_pending: f.delete_pending,
        directory: m.is_directory(),
    }
}

/// A file that is being deleted has its name no more.
fn links(m: &Metadata, f: &FileFacts) -> u32 {
    // A folder has one name, however its file system counts.
    let links = if m.is_directory() { 1 } else { m.links };
    links.saturating_sub(u32::from(f.delete_pending))
}

/// A class that is made of a stat ([`FileSource::Stat`]).
///
/// # Errors
/// STATUS_INVALID_INFO_CLASS for another class.
pub fn file(class: u8, m: &Metadata, f: &FileFacts) -> Result<Info, NtStatus> {
    Ok(match class {
        file_class::BASIC => info(BasicInformation::LEN, |w| basic(m).encode(w)),
        file_class::STANDARD => info(StandardInformation::LEN, |w| standard(m, f).encode(w)),
        file_class::INTERNAL => info(InternalInformation::LEN, |w| {
            InternalInformation {
                index_number: m.key.file,
            }
            .encode(w);
        }),
        file_class::EA => info(EaInformation::LEN, |w| {
            EaInformation { ea_size: m.ea_size }.encode(w)
        }),
        file_class::ACCESS => info(AccessInformation::LEN, |w| {
            AccessInformation { access: f.access }.encode(w);
        }),
        file_class::NAME => info(8, |w| encode_name(&f.name, w)),
        file_class::POSITION => info(PositionInformation::LEN, |w| {
            PositionInformation {
                position: f.position,
            }
            .encode(w);
        }),
        file_class::MODE => info(ModeInformation::LEN, |w| {
            ModeInformation { mode: f.mode }.encode(w)
        }),
        file_class::ALIGNMENT => info(AlignmentInformation::LEN, |w| {
            AlignmentInformation { alignment: 0 }.encode(w);
        }),
        file_class::ALL => info(AllInformation::FIXED + 4, |w| {
            AllInformation {
                basic: basic(m),
                standard: standard(m, f),
                internal: InternalInformation {
                    index_number: m.key.file,
                },
                ea: EaInformation { ea_size: m.ea_size },
                access: AccessInformation { access: f.access },
                position: PositionInformation {
                    position: f.position,
                },
                mode: ModeInformation { mode: f.mode },
                alignment: AlignmentInformation { alignment: 0 },
                name: f.name.clone(),
            }
            .encode(w);
        }),
        file_class::COMPRESSION => info(CompressionInformation::LEN, |w| {
            CompressionInformation {
                compressed_size: m.allocation_size,
                format: 0,
                unit_shift: 0,
                chunk_shift: 0,
                cluster_shift: 0,
            }
            .encode(w);
        }),
        file_class::NETWORK_OPEN => info(NetworkOpenInformation::LEN, |w| {
            NetworkOpenInformation {
                creation: m.times.creation,
                last_access: m.times.last_access,
                last_write: m.times.last_write,
                change: m.times.change,
                allocation_size: m.allocation_size,
                end_of_file: m.end_of_file,
                attributes: attributes(m.attributes),
            }
            .encode(w);
        }),
        file_class::ATTRIBUTE_TAG => info(AttributeTagInformation::LEN, |w| {
            AttributeTagInformation {
                attributes: attributes(m.attributes),
                reparse_tag: m.reparse_tag,
            }
            .encode(w);
        }),
        file_class::STANDARD_LINK => info(StandardLinkInformation::LEN, |w| {
            StandardLinkInformation {
                accessible_links: links(m, f),
                links: m.links,
                delete_pending: f.delete_pending,
                directory: m.is_directory(),
            }
            .encode(w);
        }),
        file_class::ID => info(IdInformation::LEN, |w| {
            let mut file_id = [0; 16];
            let (low, _) = file_id.split_at_mut(8);
            low.copy_from_slice(&m.key.file.to_le_bytes());
            IdInformation {
                volume: m.key.volume,
                file_id,
            }
            .encode(w);
        }),
        _ => return Err(NtStatus::INVALID_INFO_CLASS),
    })
}

/// FileStreamInformation. A folder without streams is an empty buffer.
pub fn streams(list: &[StreamFacts]) -> Info {
    let entries: Vec<StreamInformation> = list
        .iter()
        .map(|s| StreamInformation {
            name: format!(":{}:$DATA", s.name),
            size: s.size,
            allocation_size: s.allocation,
        })
        .collect();
    info(32, |w| StreamInformation::encode_list(&entries, w))
}

/// FileAlternateNameInformation and FileNormalizedNameInformation.
pub fn name(name: &str) -> Info {
    info(8, |w| encode_name(name, w))
}

/// FileFullEaInformation; whole entries only.
///
/// # Errors
/// STATUS_NO_EAS_ON_FILE for none, STATUS_BUFFER_TOO_SMALL when not one fits.
pub fn eas(list: &[Ea], max: usize) -> Result<(NtStatus, Vec<u8>), NtStatus> {
    if list.is_empty() {
        return Err(NtStatus::NO_EAS_ON_FILE);
    }
    let mut fitting = Vec::with_capacity(list.len());
    let mut used = 0usize;
    for ea in list {
        let entry = FullEa {
            flags: ea.flags,
            name: ea.name.as_bytes(),
            value: &ea.value,
        };
        let end = used.next_multiple_of(4).saturating_add(entry.encoded_len());
        if end > max {
            break;
        }
        used = end;
        fitting.push(entry);
    }
    if fitting.is_empty() {
        return Err(NtStatus::BUFFER_TOO_SMALL);
    }
    let all = fitting.len() == list.len();
    let out = info(0, |w| FullEa::encode_list(&fitting, w));
    Ok((
        if all {
            NtStatus::SUCCESS
        } else {
            NtStatus::BUFFER_OVERFLOW
        },
        out.data,
    ))
}
