//! One attack after the other, and what came of each.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::man::{ALL, ALTERED, Attack, Man, ORIGINAL};
use super::subject::Target;
use super::victim::{Source, Victim};
use super::{DIALECTS, SETTINGS, Setting};
use crate::Res;
use crate::frame::find;
use crate::process::Output;
use crate::proxy::Proxy;

/// A file of this size is several WRITEs in every dialect.
const LARGE: usize = 3 << 20;
/// One of this size is one WRITE.
const SMALL: usize = 4000;

/// What an attack came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The attacker got what it wanted.
    Succeeded(String),
    /// Nothing of it was acted upon.
    Failed,
    /// It could not be tried, and why.
    NotTried(String),
}

/// Who is attacked, and with what files.
pub(crate) struct Bench {
    folder: PathBuf,
    pub(crate) victim: Victim,
    /// Where the attacker waits for the victim.
    listen: SocketAddr,
    large: Vec<u8>,
    small: Vec<u8>,
}

impl Bench {
    pub(crate) fn new(folder: &Path, victim: Victim) -> Res<Self> {
        let mut small = ORIGINAL.to_vec();
        small.resize(SMALL, b'.');
        let mut large = Vec::with_capacity(LARGE);
        while large.len() < LARGE {
            large.extend_from_slice(ORIGINAL);
            large.extend_from_slice(format!("{:08x}", large.len()).as_bytes());
        }
        for (name, bytes) in [("small", &small), ("large", &large)] {
            std::fs::write(folder.join(name), bytes).map_err(|e| e.to_string())?;
        }
        Ok(Self {
            folder: folder.to_owned(),
            victim,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            large,
            small,
        })
    }

    /// The attacker waits here.
    pub(crate) fn listen(mut self, listen: SocketAddr) -> Self {
        self.listen = listen;
        self
    }

    /// One attack; the folder behind the share is empty before and after.
    pub(crate) fn attack(
        &self,
        target: &Target,
        dialect: &str,
        setting: Setting,
        attack: Attack,
    ) -> Res<(Outcome, Output)> {
        target.empty()?;
        let fetched = self.folder.join("fetched");
        let _ = std::fs::remove_file(&fetched);
        if matches!(attack, Attack::AlterRead | Attack::StripRead) {
            target.keep(&self.folder.join("small"))?;
        }
        let man = Box::new(Man::new(attack));
        let proxy = Proxy::between(self.listen, target.address, man)?;
        let out = self.victim.run(proxy.address, dialect, setting, attack)?;
        // What the server still does with the last frame.
        if !out.ok() || forges(attack) {
            std::thread::sleep(Duration::from_millis(150));
        }
        let files = target.files()?;
        let fetched = std::fs::read(&fetched).ok();
        target.empty()?;
        if attack != Attack::None && proxy.altered() == 0 {
            let why = if out.ok() {
                "nothing to change passed by".to_owned()
            } else {
                format!("refused before: {}", out.tail())
            };
            return Ok((Outcome::NotTried(why), out));
        }
        let whole = match self.victim.source(attack, dialect) {
            Source::Small => &self.small,
            Source::Large => &self.large,
        };
        let outcome = judge(attack, whole, &files, fetched.as_deref(), &out);
        Ok((outcome, out))
    }
}

/// What became of it.
fn judge(
    attack: Attack,
    whole: &[u8],
    files: &BTreeMap<String, Vec<u8>>,
    fetched: Option<&[u8]>,
    out: &Output,
) -> Outcome {
    let won = |what: &str| Outcome::Succeeded(what.to_owned());
    let victim = files.get("victim");
    if files.values().any(|f| find(f, ALTERED).is_some()) {
        return won("changed bytes were written");
    }
    if files.contains_key("forged") {
        return won("a file of the attacker's was made");
    }
    if out.ok() && fetched.is_some_and(|f| find(f, ALTERED).is_some()) {
        return won("the client took changed bytes");
    }
    match attack {
        Attack::None => match victim {
            Some(bytes) if bytes == whole && out.ok() => Outcome::Failed,
            _ => Outcome::NotTried(format!("the control: {}", out.tail())),
        },
        Attack::Truncate | Attack::Swallow | Attack::Overtake | Attack::Reorder
            if out.ok() && victim.is_some_and(|v| v != whole) =>
        {
            won("the client believes that all was written")
        }
        Attack::Replay if victim.is_some() => won("the replayed CREATE was acted upon"),
        // Whatever was negotiated, weakened, was used.
        Attack::Dialect
        | Attack::NoSigningContext
        | Attack::SwapAlgorithms
        | Attack::SwapCiphers
        | Attack::NoEncryption
        | Attack::NtlmFlags
        | Attack::NtlmChallenge
        | Attack::NtlmMic
        | Attack::MechListMic
            if victim.is_some() =>
        {
            won("the weakened session was served")
        }
        Attack::ReplayEncrypted if out.ok() => won("nobody noticed"),
        _ => Outcome::Failed,
    }
}

pub(super) fn forges(attack: Attack) -> bool {
    matches!(
        attack,
        Attack::Hijack | Attack::StaleSignature | Attack::Splice | Attack::ReuseId
    )
}

/// Results by setting, attack and dialect.
pub(crate) type Results = BTreeMap<(Setting, Attack, &'static str), Outcome>;

/// Every attack that `chosen` picks, on one kind of server.
pub(super) fn matrix(
    bench: &Bench,
    start: &dyn Fn(&str) -> Res<Option<Target>>,
    chosen: &dyn Fn(Attack, &str, Setting) -> bool,
    told: &mut dyn FnMut(Setting, Attack, &str, &Outcome, &Output),
) -> Res<Results> {
    let mut results = Results::new();
    let mut silent = BTreeSet::new();
    for signing in ["off", "offered", "required"] {
        let Some(target) = start(signing)? else {
            continue;
        };
        for setting in SETTINGS.into_iter().filter(|s| s.server() == signing) {
            for attack in ALL {
                for dialect in DIALECTS {
                    let fits = attack.applies(dialect)
                        && setting.applies(dialect, *attack)
                        && bench.victim.can_be(setting)
                        && bench.victim.suits(*attack);
                    if !fits || !chosen(*attack, dialect, setting) {
                        continue;
                    }
                    if silent.contains(&(setting, dialect)) {
                        continue;
                    }
                    let (outcome, out) = bench.attack(&target, dialect, setting, *attack)?;
                    // What does not work undisturbed proves nothing disturbed.
                    if *attack == Attack::None && outcome != Outcome::Failed {
                        silent.insert((setting, dialect));
                    }
                    told(setting, *attack, dialect, &outcome, &out);
                    results.insert((setting, *attack, dialect), outcome);
                }
            }
        }
    }
    Ok(results)
}
