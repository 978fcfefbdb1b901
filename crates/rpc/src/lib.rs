//! DCE/RPC and the interfaces served over named pipes.
