//! `cargo xtask attack`: a man in the middle between real clients and a server, in
//! every dialect and setting; what must fail fails, what succeeds does by design.

mod bench;
mod design;
mod man;
mod relay;
mod subject;
mod tables;
mod usage;
mod victim;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

use bench::{Bench, Outcome, forges, matrix};
use design::{Nature, succeeds};
use man::Attack;
use subject::{Account, Target};
use tables::markdown;
use usage::{Subject, Usage};
use victim::Victim;

use crate::process::Output;
use crate::report::Tally;
use crate::{Res, workspace};

pub(crate) const DIALECTS: [&str; 6] =
    ["NT1", "SMB2_02", "SMB2_10", "SMB3_00", "SMB3_02", "SMB3_11"];

/// What both sides are set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setting {
    /// Neither side signs.
    Unsigned,
    /// Both would, neither insists.
    Offered,
    /// The client requires signing.
    Client,
    /// The server requires signing.
    Server,
    /// Both require it.
    Both,
    /// The client requires encryption.
    Encrypted,
}

pub(crate) const SETTINGS: [Setting; 6] = [
    Setting::Unsigned,
    Setting::Offered,
    Setting::Client,
    Setting::Server,
    Setting::Both,
    Setting::Encrypted,
];

impl Setting {
    fn words(self) -> &'static str {
        match self {
            Setting::Unsigned => "neither side signs",
            Setting::Offered => "both offer signing, neither requires it",
            Setting::Client => "the client requires signing",
            Setting::Server => "the server requires signing",
            Setting::Both => "both require signing",
            Setting::Encrypted => "the client requires encryption",
        }
    }

    /// Which of the three configurations the server has.
    fn server(self) -> &'static str {
        match self {
            Setting::Unsigned => "off",
            Setting::Offered | Setting::Client | Setting::Encrypted => "offered",
            Setting::Server | Setting::Both => "required",
        }
    }

    /// The server's two settings: always, and if the client agrees.
    fn server_settings(self) -> (bool, bool) {
        match self.server() {
            "off" => (false, false),
            "offered" => (false, true),
            _ => (true, true),
        }
    }

    /// The client's: always, if the server agrees, and whether off means that it signs
    /// for a server that insists.
    fn client_settings(self) -> (bool, bool, bool) {
        match self {
            Setting::Unsigned => (false, false, false),
            Setting::Offered => (false, true, false),
            Setting::Server | Setting::Encrypted => (false, false, true),
            Setting::Client | Setting::Both => (true, true, false),
        }
    }

    /// The client would sign where nobody insists.
    fn offers(self) -> bool {
        self.client_settings().1
    }

    /// What a client is set to here, in the words of `--client-signing`.
    fn client(self) -> &'static [&'static str] {
        match self {
            Setting::Unsigned => &["off"],
            Setting::Offered => &["offered"],
            Setting::Server => &["off", "offered"],
            Setting::Client | Setting::Both => &["required"],
            Setting::Encrypted => &[],
        }
    }

    fn applies(self, dialect: &str, attack: Attack) -> bool {
        let encrypted = self == Setting::Encrypted;
        if encrypted && !dialect.starts_with("SMB3") {
            return false;
        }
        match attack {
            Attack::AlterEncrypted | Attack::ReplayEncrypted => encrypted,
            Attack::None | Attack::NoEncryption | Attack::SwapCiphers => {
                encrypted || attack == Attack::None
            }
            // Nobody signs: there is nothing to take away.
            Attack::ClearServerMode | Attack::ClearClientMode => {
                !encrypted
                    && self != Setting::Unsigned
                    && (self != Setting::Offered || dialect == "NT1")
            }
            Attack::NoSigningContext
            | Attack::SwapAlgorithms
            | Attack::Dialect
            | Attack::NtlmFlags
            | Attack::NtlmChallenge
            | Attack::NtlmMic
            | Attack::MechListMic => true,
            _ => !encrypted,
        }
    }
}

/// Whose fault it is when an attack succeeds that should not, or the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    /// Ours: what must fail fails, and what succeeds by design does, or the bench shows
    /// nothing.
    Ours,
    /// The subject's: what must fail fails; being better than the design is no fault.
    Subject,
    /// Nobody's here: for the tables only.
    Nobody,
}

/// Counts a result.
fn check(
    tally: &mut Tally,
    (name, nature, judged): (&str, Nature, Judged),
    (setting, attack, dialect): (Setting, Attack, &str),
    outcome: &Outcome,
    out: &Output,
) {
    let design = succeeds(nature, attack, dialect, setting);
    let control = attack == Attack::None;
    let cell = format!("{name}: {attack:?} {dialect} {setting:?}");
    let result = match (outcome, judged) {
        (_, Judged::Nobody) => return,
        // An outside subject need not speak every dialect.
        (Outcome::NotTried(why), Judged::Subject) if control => {
            tally.skip(&cell, &format!("does not work undisturbed: {why}"));
            return;
        }
        (Outcome::Succeeded(what), _) if !design => Err(format!("{what} ({})", out.tail())),
        (Outcome::Failed, Judged::Ours) if design => {
            Err(format!("did not succeed ({})", out.tail()))
        }
        (Outcome::NotTried(why), Judged::Ours) if control || design => Err(why.clone()),
        _ => Ok(()),
    };
    tally.check(&cell, result);
}

/// Below this line a file of results is written anew.
const RESULTS: &str = "<!-- results of cargo xtask attack -->";

/// The whole bench.
pub(crate) fn run(args: &[String]) -> Res<bool> {
    let Some(usage) = Usage::parse(args)? else {
        print!("{}", usage::HELP);
        return Ok(true);
    };
    let folder = workspace::scratch("attack")?;
    let mut tally = Tally::new();
    tally.suite("attack");
    let binary = workspace::build_release()?;
    let mut text = String::new();
    for name in &usage.victims {
        let (client, victim) = match (name.as_str(), &usage.client) {
            (usage::OTHER_CLIENT, Some(other)) => (
                "the client",
                Victim::other(&folder, &usage.account, other.clone()),
            ),
            ("ours", _) => (
                "countersign",
                Victim::ours(&binary, &folder, &usage.account)?,
            ),
            _ => ("smbclient", Victim::smbclient(&folder, &usage.account)?),
        };
        let mut bench = Bench::new(&folder, victim)?;
        if let Some(listen) = usage.listen {
            bench = bench.listen(listen);
        }
        for subject in &usage.subjects {
            let name = format!("{client} and {}", subject.name());
            text.push_str(&pair(
                &mut tally,
                &usage,
                &bench,
                subject,
                &name,
                (&binary, &folder),
            )?);
        }
    }
    if usage.relays() {
        text.push_str(&relay::tables(&mut tally, &binary, &folder)?);
    }
    println!("{text}");
    if let Some(file) = &usage.out {
        // What stands above the results stays.
        let old = std::fs::read_to_string(file).unwrap_or_default();
        if let Some((above, _)) = old.split_once(RESULTS) {
            text = format!("{above}{RESULTS}\n{text}");
        }
        std::fs::write(file, &text).map_err(|e| format!("{file}: {e}"))?;
    }
    Ok(tally.finish())
}

/// Every attack on one client before one server; the tables.
fn pair(
    tally: &mut Tally,
    usage: &Usage,
    bench: &Bench,
    subject: &Subject,
    name: &str,
    (binary, folder): (&Path, &Path),
) -> Res<String> {
    let nature = bench.victim.nature();
    let outside = usage.client.is_some() || matches!(subject, Subject::Elsewhere(_));
    let mut findings = Vec::new();
    let mut tried = BTreeSet::new();
    let mut won = BTreeSet::new();
    let mut told = |setting, attack: Attack, dialect: &str, outcome: &Outcome, out: &Output| {
        // With smbd, who deceives the server deceives nothing of ours.
        let deceived = attack == Attack::ClearClientMode;
        let judged = match subject {
            _ if outside => Judged::Subject,
            Subject::Ours => Judged::Ours,
            _ if bench.victim.is_ours() && !deceived => Judged::Ours,
            _ => Judged::Nobody,
        };
        let cell = (setting, attack, dialect);
        check(tally, (name, nature, judged), cell, outcome, out);
        let design = succeeds(nature, attack, dialect, setting);
        if design {
            tried.insert(attack);
        }
        if let Outcome::Succeeded(what) = outcome {
            won.insert(attack);
            if !design {
                let words = (attack.words(), setting.words());
                findings.push(format!("{} ({dialect}, {}): {what}", words.0, words.1));
            }
        }
        println!("{name}: {setting:?} {attack:?} {dialect}: {outcome:?}");
    };
    let chosen = |attack: Attack, dialect: &str, _: Setting| usage.chooses(attack, dialect);
    let mut results = bench::Results::new();
    if usage.client.is_some() {
        // Another client is not told which dialect to speak: the server speaks one alone.
        for only in DIALECTS.into_iter().filter(|d| usage.speaks(d)) {
            let start = |signing: &str| Target::ours_in(binary, folder, signing, only).map(Some);
            let chosen = |attack: Attack, dialect: &str, setting: Setting| {
                dialect == only && chosen(attack, dialect, setting)
            };
            results.extend(matrix(bench, &start, &chosen, &mut told)?);
        }
    } else {
        let start = |signing: &str| match subject {
            Subject::Ours => Target::ours(binary, folder, signing).map(Some),
            Subject::Smbd => Target::smbd(folder, signing).map(Some),
            Subject::Elsewhere(_) if signing != usage.signing => Ok(None),
            Subject::Elsewhere(host) => Target::elsewhere(host, folder, &usage.account).map(Some),
        };
        results = matrix(bench, &start, &chosen, &mut told)?;
    }
    for finding in findings {
        println!("{name}: {finding}");
    }
    if results.is_empty() {
        return Err(format!(
            "{name}: no attack was made: nothing of --only or --dialects applies"
        ));
    }
    let unseen: Vec<_> = tried
        .difference(&won)
        .map(|attack| attack.words())
        .collect();
    // Of a client that is not known, nothing can be expected.
    if !unseen.is_empty() && usage.client.is_none() {
        println!(
            "{name}: succeeded nowhere, though it should: {}",
            unseen.join(", ")
        );
    }
    let mut text = String::new();
    let _ = writeln!(text, "\n## {name}");
    text.push_str(&markdown(&results, nature));
    Ok(text)
}

/// The part that every test run has: each attack once where it must fail, and the
/// ones that succeed by design once, to show that they would be seen; then our client
/// in front of our server.
pub(crate) fn short(tally: &mut Tally, binary: &Path) -> Res<()> {
    let folder = workspace::scratch("attack-short")?;
    let account = Account::default();
    let start = |signing: &str| Target::ours(binary, &folder, signing).map(Some);
    let chosen = |attack: Attack, dialect: &str, setting: Setting| match setting {
        Setting::Unsigned => {
            attack.never().is_none() && dialect == "SMB2_10"
                || matches!(attack, Attack::Hijack | Attack::Replay | Attack::ReuseId)
                    && dialect == "NT1"
        }
        Setting::Client => dialect == "SMB3_11",
        Setting::Server => dialect == "NT1" || dialect == "SMB2_10" && forges(attack),
        Setting::Encrypted => dialect == "SMB3_11" && attack != Attack::None,
        _ => false,
    };
    let victim = Victim::smbclient(&folder, &account)?;
    one(
        tally,
        "smbclient and Countersign",
        victim,
        &folder,
        &start,
        &chosen,
    )?;
    let chosen = |attack: Attack, dialect: &str, setting: Setting| match setting {
        Setting::Unsigned => {
            dialect == "SMB3_11"
                && matches!(attack, Attack::Truncate | Attack::Overtake | Attack::Splice)
        }
        Setting::Client => attack == Attack::Guest || matches!(dialect, "NT1" | "SMB3_11"),
        _ => false,
    };
    let victim = Victim::ours(binary, &folder, &account)?;
    one(
        tally,
        "countersign and Countersign",
        victim,
        &folder,
        &start,
        &chosen,
    )
}

fn one(
    tally: &mut Tally,
    name: &str,
    victim: Victim,
    folder: &Path,
    start: &dyn Fn(&str) -> Res<Option<Target>>,
    chosen: &dyn Fn(Attack, &str, Setting) -> bool,
) -> Res<()> {
    let nature = victim.nature();
    let bench = Bench::new(folder, victim)?;
    matrix(
        &bench,
        start,
        chosen,
        &mut |setting, attack, dialect: &str, outcome: &Outcome, out: &Output| {
            let cell = (setting, attack, dialect);
            check(tally, (name, nature, Judged::Ours), cell, outcome, out);
        },
    )?;
    Ok(())
}
