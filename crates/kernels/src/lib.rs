//! Message-authentication primitives, one at a time and in batches.
