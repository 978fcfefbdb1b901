//! Error classes and codes of clients without NTSTATUS, [MS-CIFS] 2.2.2.4.

use crate::NtStatus;

/// An error class and code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DosError {
    /// ErrorClass.
    pub class: u8,
    /// ErrorCode.
    pub code: u16,
}

/// ERRCLASS SUCCESS.
pub const CLASS_SUCCESS: u8 = 0;
/// ERRDOS.
pub const ERRDOS: u8 = 1;
/// ERRSRV.
pub const ERRSRV: u8 = 2;
/// ERRHRD.
pub const ERRHRD: u8 = 3;

impl DosError {
    /// ERRSRV/ERRerror: what has no better code.
    pub const ERROR: DosError = DosError {
        class: ERRSRV,
        code: 1,
    };
    /// ERRDOS/ERRnofiles.
    pub const NO_FILES: DosError = DosError {
        class: ERRDOS,
        code: 18,
    };
    /// ERRDOS/ERRbadpath.
    pub const BAD_PATH: DosError = DosError {
        class: ERRDOS,
        code: 3,
    };

    /// The four bytes of the Status field as a little-endian number.
    pub fn to_wire(self) -> u32 {
        u32::from(self.code) << 16 | u32::from(self.class)
    }

    /// From the Status field.
    pub fn from_wire(status: u32) -> Self {
        let [class, _, low, high] = status.to_le_bytes();
        Self {
            class,
            code: u16::from_le_bytes([low, high]),
        }
    }

    /// The error of an NTSTATUS. Success and informational codes are success,
    /// but for those DOS has a code for.
    pub fn of(status: NtStatus) -> Self {
        if status == NtStatus::SUCCESS {
            return DosError {
                class: CLASS_SUCCESS,
                code: 0,
            };
        }
        if let Some(own) = smb_status(status) {
            return own;
        }
        match TABLE.iter().find(|row| row.0 == status.0) {
            Some((_, class, code)) => DosError {
                class: *class,
                code: *code,
            },
            None if status.0 >> 30 < 2 => DosError {
                class: CLASS_SUCCESS,
                code: 0,
            },
            None => Self::ERROR,
        }
    }

    /// The NTSTATUS closest to it: the first of the table with this class and code.
    pub fn to_status(self) -> NtStatus {
        if self.class == CLASS_SUCCESS {
            return NtStatus::SUCCESS;
        }
        TABLE
            .iter()
            .find(|(_, class, code)| (*class, *code) == (self.class, self.code))
            .map_or(NtStatus::UNSUCCESSFUL, |row| NtStatus(row.0))
    }
}

/// The STATUS_SMB_* and STATUS_OS2_* values are a class and code already.
fn smb_status(status: NtStatus) -> Option<DosError> {
    let e = DosError::from_wire(status.0);
    let plain = status.0 & 0xFF00 == 0 && status.0 >> 24 < 0x10;
    (plain && matches!(e.class, ERRDOS | ERRSRV | ERRHRD) && e.code != 0).then_some(e)
}

/// NTSTATUS, class, code.
const TABLE: &[(u32, u8, u16)] = &[
    (0x8000_0005, ERRDOS, 234),  // BUFFER_OVERFLOW: ERRmoredata
    (0x8000_0006, ERRDOS, 18),   // NO_MORE_FILES: ERRnofiles
    (0x8000_0014, ERRDOS, 255),  // EA_LIST_INCONSISTENT
    (0x8000_0013, ERRDOS, 254),  // INVALID_EA_NAME
    (0xC000_0001, ERRDOS, 31),   // UNSUCCESSFUL: ERRgeneral
    (0xC000_0002, ERRDOS, 1),    // NOT_IMPLEMENTED: ERRbadfunc
    (0xC000_0010, ERRDOS, 1),    // INVALID_DEVICE_REQUEST
    (0xC000_0003, ERRDOS, 87),   // INVALID_INFO_CLASS
    (0xC000_0004, ERRDOS, 24),   // INFO_LENGTH_MISMATCH
    (0xC000_0008, ERRDOS, 6),    // INVALID_HANDLE: ERRbadfid
    (0xC000_0128, ERRDOS, 6),    // FILE_CLOSED
    (0xC000_0024, ERRDOS, 6),    // OBJECT_TYPE_MISMATCH
    (0xC000_000D, ERRDOS, 87),   // INVALID_PARAMETER: ERRinvalidparam
    (0xC000_000F, ERRDOS, 2),    // NO_SUCH_FILE: ERRbadfile
    (0xC000_0034, ERRDOS, 2),    // OBJECT_NAME_NOT_FOUND
    (0xC000_0225, ERRDOS, 2),    // NOT_FOUND
    (0xC000_0011, ERRDOS, 38),   // END_OF_FILE: ERReof
    (0xC000_0016, ERRDOS, 234),  // MORE_PROCESSING_REQUIRED
    (0xC000_0017, ERRDOS, 8),    // NO_MEMORY: ERRnomem
    (0xC000_009A, ERRDOS, 8),    // INSUFFICIENT_RESOURCES
    (0xC000_0022, ERRDOS, 5),    // ACCESS_DENIED: ERRnoaccess
    (0xC000_0056, ERRDOS, 5),    // DELETE_PENDING
    (0xC000_00BA, ERRDOS, 5),    // FILE_IS_A_DIRECTORY
    (0xC000_0121, ERRDOS, 5),    // CANNOT_DELETE
    (0xC000_0123, ERRDOS, 5),    // FILE_DELETED
    (0xC000_0061, ERRDOS, 5),    // PRIVILEGE_NOT_HELD
    (0xC000_0023, ERRDOS, 122),  // BUFFER_TOO_SMALL
    (0xC000_0033, ERRDOS, 123),  // OBJECT_NAME_INVALID: ERRinvalidname
    (0xC000_0106, ERRDOS, 123),  // NAME_TOO_LONG
    (0xC000_0035, ERRDOS, 80),   // OBJECT_NAME_COLLISION: ERRfilexists
    (0xC000_0039, ERRDOS, 3),    // OBJECT_PATH_INVALID
    (0xC000_003A, ERRDOS, 3),    // OBJECT_PATH_NOT_FOUND: ERRbadpath
    (0xC000_003B, ERRDOS, 3),    // OBJECT_PATH_SYNTAX_BAD
    (0xC000_0103, ERRDOS, 3),    // NOT_A_DIRECTORY
    (0xC000_0043, ERRDOS, 32),   // SHARING_VIOLATION: ERRbadshare
    (0xC000_0054, ERRDOS, 33),   // FILE_LOCK_CONFLICT: ERRlock
    (0xC000_0055, ERRDOS, 33),   // LOCK_NOT_GRANTED
    (0xC000_007E, ERRDOS, 158),  // RANGE_NOT_LOCKED: ERRnotlocked
    (0xC000_0050, ERRDOS, 255),  // EA_TOO_LARGE
    (0xC000_004F, ERRDOS, 282),  // EAS_NOT_SUPPORTED: ERReasnotsupported
    (0xC000_00A2, ERRHRD, 19),   // MEDIA_WRITE_PROTECTED: ERRnowrite
    (0xC000_007F, ERRDOS, 112),  // DISK_FULL: ERRdiskfull
    (0xC000_011F, ERRDOS, 4),    // TOO_MANY_OPENED_FILES: ERRnofids
    (0xC000_00D4, ERRDOS, 17),   // NOT_SAME_DEVICE: ERRdiffdevice
    (0xC000_0101, ERRDOS, 145),  // DIRECTORY_NOT_EMPTY: ERRdirnotempty
    (0xC000_00BB, ERRDOS, 50),   // NOT_SUPPORTED: ERRunsup
    (0xC000_00AB, ERRDOS, 231),  // INSTANCE_NOT_AVAILABLE: ERRpipebusy
    (0xC000_00AC, ERRDOS, 231),  // PIPE_NOT_AVAILABLE
    (0xC000_00AE, ERRDOS, 231),  // PIPE_BUSY
    (0xC000_00AD, ERRDOS, 230),  // INVALID_PIPE_STATE: ERRbadpipe
    (0xC000_00B4, ERRDOS, 230),  // INVALID_READ_MODE
    (0xC000_00B1, ERRDOS, 232),  // PIPE_CLOSING: ERRpipeclosing
    (0xC000_00D9, ERRDOS, 232),  // PIPE_EMPTY
    (0xC000_00B0, ERRDOS, 233),  // PIPE_DISCONNECTED: ERRnotconnected
    (0xC000_0148, ERRDOS, 124),  // INVALID_LEVEL
    (0xC000_00CC, ERRSRV, 6),    // BAD_NETWORK_NAME: ERRinvnetname
    (0xC000_00CB, ERRSRV, 7),    // BAD_DEVICE_TYPE: ERRinvdevice
    (0xC000_00CA, ERRSRV, 4),    // NETWORK_ACCESS_DENIED: ERRaccess
    (0xC000_00C9, ERRSRV, 5),    // NETWORK_NAME_DELETED: ERRinvtid
    (0xC000_0203, ERRSRV, 91),   // USER_SESSION_DELETED: ERRbaduid
    (0xC000_035C, ERRSRV, 91),   // NETWORK_SESSION_EXPIRED
    (0xC000_006D, ERRSRV, 2),    // LOGON_FAILURE: ERRbadpw
    (0xC000_006A, ERRSRV, 2),    // WRONG_PASSWORD
    (0xC000_0064, ERRSRV, 2),    // NO_SUCH_USER
    (0xC000_006E, ERRSRV, 2),    // ACCOUNT_RESTRICTION
    (0xC000_0072, ERRSRV, 2239), // ACCOUNT_DISABLED: ERRaccountExpired
    (0xC000_0071, ERRSRV, 2242), // PASSWORD_EXPIRED: ERRpasswordExpired
    (0xC000_00CE, ERRSRV, 90),   // TOO_MANY_SESSIONS: ERRtoomanyuids
    (0xC000_0234, ERRSRV, 2),    // ACCOUNT_LOCKED_OUT
    (0xC000_00B5, ERRSRV, 88),   // IO_TIMEOUT: ERRtimeout
    (0xC000_00E3, ERRDOS, 31),   // INVALID_OPLOCK_PROTOCOL
    (0xC000_0184, ERRDOS, 22),   // INVALID_DEVICE_STATE
    (0xC000_0120, ERRDOS, 5),    // CANCELLED
    (0xC000_0257, ERRDOS, 3),    // PATH_NOT_COVERED
    (0xC000_0275, ERRDOS, 31),   // NOT_A_REPARSE_POINT
    (0xC000_0052, ERRDOS, 31),   // NO_EAS_ON_FILE
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_errors() {
        let e = |s| {
            let e = DosError::of(s);
            (e.class, e.code)
        };
        assert_eq!(e(NtStatus::SUCCESS), (0, 0));
        assert_eq!(e(NtStatus::PENDING), (0, 0));
        assert_eq!(e(NtStatus::OBJECT_NAME_NOT_FOUND), (ERRDOS, 2));
        assert_eq!(e(NtStatus::SHARING_VIOLATION), (ERRDOS, 32));
        assert_eq!(e(NtStatus::SMB_BAD_FID), (ERRDOS, 6));
        assert_eq!(e(NtStatus::SMB_BAD_TID), (ERRSRV, 5));
        assert_eq!(e(NtStatus::NO_MORE_FILES), (ERRDOS, 18));
        assert_eq!(e(NtStatus(0xC000_1234)), (ERRSRV, 1));
    }

    #[test]
    fn the_wire_form_is_class_zero_code() {
        let e = DosError {
            class: ERRDOS,
            code: 0x0102,
        };
        assert_eq!(e.to_wire().to_le_bytes(), [1, 0, 2, 1]);
        assert_eq!(DosError::from_wire(e.to_wire()), e);
        assert_eq!(
            DosError { class: 1, code: 2 }.to_status(),
            NtStatus::NO_SUCH_FILE
        );
    }

    #[test]
    fn each_status_stands_once_in_the_table() {
        for (i, row) in TABLE.iter().enumerate() {
            assert!(
                TABLE.iter().skip(i + 1).all(|r| r.0 != row.0),
                "{:#x}",
                row.0
            );
        }
    }
}
