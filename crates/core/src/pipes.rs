//! Named pipes of IPC$.

/// An open pipe.
#[derive(Debug)]
pub struct PipeOpen {
    /// Name without `\pipe\`.
    pub name: String,
}
