//! Counters of a server; read by the metrics and the `sessions` command.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counters since the start.
        #[derive(Debug, Default)]
        pub struct Statistics {
            $($(#[$doc])* pub $name: Counter,)*
        }

        impl Statistics {
            /// Names and values, in a fixed order.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get()),)*]
            }
        }
    };
}

counters! {
    /// Requests carried out.
    requests,
    /// Messages refused because their signature was wrong.
    bad_signatures,
    /// Unsigned messages refused because signing is required.
    unsigned_refused,
    /// Encrypted messages that could not be opened.
    bad_transforms,
    /// Connections dropped by the engine for what the peer did.
    dropped_connections,
    /// Logons that succeeded.
    logons,
    /// Logons that failed.
    failed_logons,
    /// Logons refused by policy.
    refused_logons,
}

/// One counter.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
