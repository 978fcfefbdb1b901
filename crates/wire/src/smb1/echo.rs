//! [MS-CIFS] 2.2.4.39 SMB_COM_ECHO and the small commands without a file of
//! their own: FIND_CLOSE2 (2.2.4.48) and OPEN_PRINT_FILE (2.2.4.67).

use super::words::words;

words! {
    /// ECHO request.
    EchoWords { echo_count: u16 }
    /// ECHO response; the bytes are the request's.
    EchoResponseWords { sequence_number: u16 }
    /// FIND_CLOSE2 request.
    FindClose2Words { search_handle: u16 }
    /// OPEN_PRINT_FILE request.
    OpenPrintFileWords { setup_length: u16, mode: u16 }
}
