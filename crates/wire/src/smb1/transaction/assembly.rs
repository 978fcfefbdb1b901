//! Putting fragments together.

use super::Fragment;
use crate::cursor::{DecodeError, Result};

/// A transaction being put together from its primary and secondaries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assembly {
    parameters: Vec<u8>,
    data: Vec<u8>,
    got_parameters: usize,
    got_data: usize,
}

impl Assembly {
    /// Begins with the primary's fragment.
    ///
    /// # Errors
    /// [`DecodeError`] when the fragment is larger than its totals, or the
    /// totals are larger than `limit`.
    pub fn begin(first: &Fragment<'_>, limit: usize) -> Result<Self> {
        let total_parameters = to_usize(first.total_parameters)?;
        let total_data = to_usize(first.total_data)?;
        if total_parameters.saturating_add(total_data) > limit {
            return Err(DecodeError::Invalid {
                field: "Total",
                reason: "above the limit",
            });
        }
        let mut out = Self {
            parameters: vec![0; total_parameters],
            data: vec![0; total_data],
            got_parameters: 0,
            got_data: 0,
        };
        out.add(first)?;
        Ok(out)
    }

    /// Adds a fragment. Its totals may lower those before, [MS-CIFS] 2.2.4.34.1.
    ///
    /// # Errors
    /// [`DecodeError`] when the fragment does not lie inside the totals or
    /// raises them.
    pub fn add(&mut self, fragment: &Fragment<'_>) -> Result<()> {
        lower(&mut self.parameters, fragment.total_parameters)?;
        lower(&mut self.data, fragment.total_data)?;
        place(
            &mut self.parameters,
            &mut self.got_parameters,
            fragment.parameters,
            fragment.parameter_displacement,
        )?;
        place(
            &mut self.data,
            &mut self.got_data,
            fragment.data,
            fragment.data_displacement,
        )
    }

    /// Whether all bytes are here.
    pub fn is_complete(&self) -> bool {
        self.got_parameters >= self.parameters.len() && self.got_data >= self.data.len()
    }

    /// Bytes of memory it holds.
    pub fn size(&self) -> usize {
        self.parameters.len().saturating_add(self.data.len())
    }

    /// Parameters and data.
    pub fn into_parts(self) -> (Vec<u8>, Vec<u8>) {
        (self.parameters, self.data)
    }
}

fn to_usize(v: u32) -> Result<usize> {
    usize::try_from(v).map_err(|_| DecodeError::Invalid {
        field: "Total",
        reason: "too large",
    })
}

fn lower(whole: &mut Vec<u8>, total: u32) -> Result<()> {
    let total = to_usize(total)?;
    if total > whole.len() {
        return Err(DecodeError::Invalid {
            field: "Total",
            reason: "raised by a secondary",
        });
    }
    whole.truncate(total);
    Ok(())
}

fn place(whole: &mut [u8], got: &mut usize, part: &[u8], displacement: u32) -> Result<()> {
    let start = to_usize(displacement)?;
    let outside = DecodeError::Invalid {
        field: "Displacement",
        reason: "outside the totals",
    };
    let end = start.checked_add(part.len()).ok_or(outside)?;
    if part.is_empty() {
        return Ok(());
    }
    whole
        .get_mut(start..end)
        .ok_or(outside)?
        .copy_from_slice(part);
    *got = got.saturating_add(part.len());
    Ok(())
}
