//! Failed logons: a delay for each, and a lock-out per address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

/// What follows from failed logons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogonLimits {
    /// The answer to a failed logon comes this much later. Default 2 s; zero: at once.
    pub delay: Duration,
    /// After so many failures in a row from one address it is locked out; 0: never. Default 100,
    /// since a Windows client tries tens of times with one wrong password.
    pub lockout_failures: u32,
    /// For how long. Default 60 s.
    pub lockout_time: Duration,
    /// Addresses remembered; the longest unused is forgotten. Default 4096.
    pub addresses: usize,
}

impl Default for LogonLimits {
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(2),
            lockout_failures: 100,
            lockout_time: Duration::from_secs(60),
            addresses: 4096,
        }
    }
}

/// Remembers failures by address.
#[derive(Debug, Default)]
pub struct LogonGuard {
    addresses: Mutex<HashMap<IpAddr, Failures>>,
}

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Duration,
    locked_until: Option<Duration>,
}

impl LogonGuard {
    /// Whether logons from this address are refused now without looking at them.
    pub fn is_locked_out(&self, address: IpAddr, monotonic: Duration) -> bool {
        self.addresses
            .lock()
            .get(&address)
            .and_then(|f| f.locked_until)
            .is_some_and(|until| until > monotonic)
    }

    /// Notes a failed logon; gives when its answer may be sent (monotonic).
    pub fn failed(&self, address: IpAddr, limits: &LogonLimits, monotonic: Duration) -> Duration {
        let mut all = self.addresses.lock();
        if all.len() >= limits.addresses
            && !all.contains_key(&address)
            && let Some(oldest) = all.iter().min_by_key(|(_, f)| f.last).map(|(a, _)| *a)
        {
            all.remove(&oldest);
        }
        let entry = all.entry(address).or_insert(Failures {
            count: 0,
            last: monotonic,
            locked_until: None,
        });
        if entry.locked_until.is_some_and(|until| until <= monotonic) {
            entry.count = 0;
            entry.locked_until = None;
        }
        entry.count = entry.count.saturating_add(1);
        entry.last = monotonic;
        if limits.lockout_failures != 0 && entry.count >= limits.lockout_failures {
            entry.locked_until = Some(monotonic.saturating_add(limits.lockout_time));
        }
        monotonic.saturating_add(limits.delay)
    }

    /// Notes a good logon: the address starts anew.
    pub fn succeeded(&self, address: IpAddr) {
        self.addresses.lock().remove(&address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    #[test]
    fn locks_out_after_the_limit_and_lets_in_after_the_time() {
        let guard = LogonGuard::default();
        let limits = LogonLimits {
            lockout_failures: 3,
            ..LogonLimits::default()
        };
        let t = Duration::from_secs;
        assert_eq!(guard.failed(A, &limits, t(1)), t(3));
        guard.failed(A, &limits, t(2));
        assert!(!guard.is_locked_out(A, t(3)));
        guard.failed(A, &limits, t(3));
        assert!(guard.is_locked_out(A, t(4)));
        assert!(!guard.is_locked_out(A, t(64)));
        guard.failed(A, &limits, t(65));
        assert!(!guard.is_locked_out(A, t(66)), "the count began anew");
    }

    #[test]
    fn a_good_logon_clears_and_addresses_are_bounded() {
        let guard = LogonGuard::default();
        let limits = LogonLimits {
            lockout_failures: 1,
            addresses: 2,
            ..LogonLimits::default()
        };
        guard.failed(A, &limits, Duration::ZERO);
        guard.succeeded(A);
        assert!(!guard.is_locked_out(A, Duration::ZERO));
        for n in 0..10 {
            let a = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 1, n));
            guard.failed(a, &limits, Duration::from_secs(n.into()));
        }
        assert_eq!(guard.addresses.lock().len(), 2);
    }
}
