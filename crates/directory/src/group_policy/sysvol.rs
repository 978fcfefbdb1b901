//! SYSVOL over SMB.

use crate::error::Error;
use crate::locate::Controller;

use super::path::SysvolPath;

/// Where files of SYSVOL come from.
pub trait Sysvol: Send {
    /// A whole file of a controller's SYSVOL; `None`: there is none.
    ///
    /// # Errors
    /// When it cannot be had.
    fn read(
        &mut self,
        controller: &Controller,
        path: &SysvolPath,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, Error>> + Send;
}

/// To come.
pub struct SmbSysvol;
