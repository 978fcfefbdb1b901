//! Named pipes of IPC$ as SMB2 commands see them, [MS-SMB2] 3.3.5.9, .12, .13
//! and 3.3.5.15.10.

use std::sync::Arc;

use countersign_wire::NtStatus;

use super::handler::{Context, Step};
use super::ioctl::Asked;
use super::session::FileOpen;

pub(super) fn create(_cx: &mut Context<'_>, _name: &str) -> Step {
    Step::Fail(NtStatus::OBJECT_NAME_NOT_FOUND)
}

pub(super) fn read(_cx: &mut Context<'_>, _entry: &Arc<FileOpen>, _length: u32) -> Step {
    Step::Fail(NtStatus::NOT_SUPPORTED)
}

pub(super) fn write(_cx: &mut Context<'_>, _entry: &Arc<FileOpen>, _data: &[u8]) -> Step {
    Step::Fail(NtStatus::NOT_SUPPORTED)
}

pub(super) fn transceive(
    _cx: &mut Context<'_>,
    _entry: &Arc<FileOpen>,
    _asked: Asked,
    _input: &[u8],
) -> Step {
    Step::Fail(NtStatus::NOT_SUPPORTED)
}

pub(super) fn peek(_cx: &mut Context<'_>, _entry: &Arc<FileOpen>, _asked: Asked) -> Step {
    Step::Fail(NtStatus::NOT_SUPPORTED)
}

pub(super) fn wait(_cx: &mut Context<'_>, _asked: Asked, _input: &[u8]) -> Step {
    Step::Fail(NtStatus::NOT_SUPPORTED)
}

pub(super) fn query_info(
    _cx: &mut Context<'_>,
    _entry: &Arc<FileOpen>,
    _class: u8,
    _max: usize,
) -> Step {
    Step::Fail(NtStatus::NOT_SUPPORTED)
}
