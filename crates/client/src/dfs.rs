//! DFS: paths of a namespace that lie elsewhere, [MS-DFSC] 3.1.
//!
//! A server that answers STATUS_PATH_NOT_COVERED, or does not know the share that
//! a domain's namespace is named by, is asked for a referral; the path is then gone
//! on with at the target it names.

use std::sync::Arc;

use countersign_core::client::{Answer, Call};
use countersign_wire::dfsc::{
    MAX_REFERRAL_LEVEL, ReferralNames, ReferralRequest, ReferralResponse,
};
use countersign_wire::smb2::fsctl;
use countersign_wire::{NtStatus, Writer};

use crate::connection::{Connection, unexpected};
use crate::error::{Error, ErrorKind, Result};
use crate::file::malformed;
use crate::path::join;
use crate::share::Share;
use crate::tree::Tree;

/// Most referrals that are followed on the way to one path.
pub const MAX_HOPS: usize = 8;
/// Most targets of one referral that are tried.
pub const MAX_TARGETS: usize = 8;
/// Most links whose targets a share remembers.
const MAX_LINKS: usize = 64;
/// Most bytes of an answer.
const MAX_ANSWER: u32 = 64 << 10;

/// A target of a referral.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DfsTarget {
    /// Its server.
    pub server: String,
    /// The share there.
    pub share: String,
    /// The path on it that stands for the part of the namespace; often empty.
    pub path: String,
}

/// Where a path of a namespace lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DfsReferral {
    /// The part of the path asked for that the targets stand for.
    pub consumed: String,
    /// What comes behind it, at each target.
    pub rest: String,
    /// The targets, the best first.
    pub targets: Vec<DfsTarget>,
    /// How long that may be believed, seconds.
    pub time_to_live: u32,
}

/// A link of a namespace, where it lies in its share and what it leads to.
pub(crate) struct Link {
    prefix: String,
    share: Share,
    base: String,
}

/// The parts of `\server\share\path`.
fn target(address: &str) -> Option<DfsTarget> {
    let mut parts = address.split('\\').filter(|part| !part.is_empty());
    let (server, share) = (parts.next()?, parts.next()?);
    let path: Vec<&str> = parts.collect();
    if path.iter().any(|part| matches!(*part, "." | "..")) {
        return None;
    }
    Some(DfsTarget {
        server: server.into(),
        share: share.into(),
        path: path.join("\\"),
    })
}

/// Takes an answer about `path` apart.
fn referral(path: &str, response: &ReferralResponse) -> Option<DfsReferral> {
    let units: Vec<u16> = path.encode_utf16().collect();
    let (consumed, rest) = units.split_at_checked(usize::from(response.path_consumed / 2))?;
    let separator = u16::from(b'\\');
    // Only whole parts of a path can lie elsewhere.
    let whole = rest.first().is_none_or(|unit| *unit == separator)
        || consumed.last().is_some_and(|unit| *unit == separator);
    if !whole {
        return None;
    }
    let text = |units| String::from_utf16(units).ok();
    let mut time_to_live = u32::MAX;
    let mut targets = Vec::new();
    for entry in &response.entries {
        if let ReferralNames::Target { address, .. } = &entry.names
            && let Some(target) = target(address)
        {
            time_to_live = time_to_live.min(entry.time_to_live);
            targets.push(target);
        }
    }
    (!targets.is_empty()).then_some(())?;
    Some(DfsReferral {
        consumed: text(consumed)?.trim_end_matches('\\').into(),
        rest: text(rest)?.trim_matches('\\').into(),
        targets,
        time_to_live,
    })
}

impl Connection {
    /// Asks where a path of a DFS namespace lies: `\server\share\path` or
    /// `\domain\namespace\path` (FSCTL_DFS_GET_REFERRALS). Not in SMB1. Calls on a
    /// [`Share`] follow referrals by themselves; this is for who wants to know.
    ///
    /// ```no_run
    /// # async fn example(connection: countersign_client::Connection) -> Result<(), countersign_client::Error> {
    /// let referral = connection.dfs_referral(r"\example.com\files\projects").await?;
    /// for target in &referral.targets {
    ///     println!(r"\\{}\{}\{} {}", target.server, target.share, target.path, referral.rest);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] of servers without DFS, [`ErrorKind::NotFound`]
    /// where the path is in no namespace.
    pub async fn dfs_referral(&self, path: &str) -> Result<DfsReferral> {
        self.refer(path)
            .await
            .map_err(|e| e.during(|| format!("ask {} for a referral of {path}", self.server())))
    }

    async fn refer(&self, path: &str) -> Result<DfsReferral> {
        let ipc = Tree::connect(self.clone(), "IPC$").await?;
        let mut input = Vec::new();
        ReferralRequest {
            max_level: MAX_REFERRAL_LEVEL,
            path: path.into(),
        }
        .encode(&mut Writer::new(&mut input));
        let answer = ipc
            .call(|tree| Call::Ioctl {
                tree,
                open: None,
                code: fsctl::DFS_GET_REFERRALS,
                input: input.clone(),
                max: MAX_ANSWER,
            })
            .await?;
        let Answer::Info(data) = answer else {
            return Err(unexpected());
        };
        ReferralResponse::decode(&data)
            .ok()
            .and_then(|response| referral(path, &response))
            .ok_or_else(malformed)
    }

    /// A share that this server knows as the root of a namespace which lies
    /// elsewhere, as domain controllers do; `None` where it is no such thing.
    pub(crate) async fn namespace(&self, name: &str, hops: usize) -> Result<Option<Share>> {
        let path = format!(r"\{}\{name}", self.server());
        match self.refer(&path).await {
            Ok(referral) => reach(self, &referral, name, hops)
                .await
                .map(|(share, base)| base.is_empty().then_some(share)),
            // Whatever it says to that: there is no such share.
            Err(_) => Ok(None),
        }
    }
}

/// Connects to the first target that can be had. Gives the path on it, too, which
/// stands for what the referral is about.
async fn reach(
    from: &Connection,
    referral: &DfsReferral,
    share: &str,
    hops: usize,
) -> Result<(Share, String)> {
    if hops >= MAX_HOPS {
        return Err(Error::new(
            ErrorKind::DfsReferral,
            format!("more than {MAX_HOPS} referrals follow one another"),
        ));
    }
    let mut failure = Error::new(
        ErrorKind::DfsReferral,
        format!("{} leads to itself", referral.consumed),
    );
    for target in referral.targets.iter().take(MAX_TARGETS) {
        let here = target.server.eq_ignore_ascii_case(from.server());
        if here && target.share.eq_ignore_ascii_case(share) && target.path.is_empty() {
            continue;
        }
        tracing::debug!(
            path = referral.consumed,
            server = target.server,
            share = target.share,
            "a DFS referral is followed"
        );
        let connected = async {
            let connection = if here {
                from.clone()
            } else {
                from.to_another(&target.server).await?
            };
            Box::pin(Share::find(connection, &target.share, hops + 1)).await
        };
        match connected.await {
            Ok(share) => return Ok((share, target.path.clone())),
            Err(error) => {
                failure = error.during(|| {
                    format!(
                        r"follow {} to \\{}\{}",
                        referral.consumed, target.server, target.share
                    )
                });
            }
        }
    }
    Err(failure)
}

/// The way a path takes through a namespace: begins at its share, and goes on at
/// what referrals lead to.
pub(crate) struct Route {
    pub(crate) share: Share,
    pub(crate) path: String,
    hops: usize,
}

impl Route {
    /// By the links that are known already.
    pub(crate) fn new(share: &Share, path: String) -> Self {
        let mut route = Self {
            share: share.clone(),
            path,
            hops: 0,
        };
        while route.hops < MAX_HOPS && route.step(false) {}
        route
    }

    /// The same for what concerns a link itself and not what it leads to: only
    /// paths below a link are gone on with.
    pub(crate) fn no_follow(share: &Share, path: String) -> Self {
        let mut route = Self {
            share: share.clone(),
            path,
            hops: 0,
        };
        while route.hops < MAX_HOPS && route.step(true) {}
        route
    }

    /// One link further, of those that are known.
    fn step(&mut self, below: bool) -> bool {
        let links = self.share.tree.links.lock();
        let found = links
            .iter()
            .filter_map(|link| Some((link, below_of(&self.path, &link.prefix)?)))
            .filter(|(_, rest)| !(below && rest.is_empty()))
            .max_by_key(|(link, _)| link.prefix.len());
        let Some((link, rest)) = found else {
            return false;
        };
        let (share, path) = (link.share.clone(), beneath(&link.base, rest));
        drop(links);
        self.share = share;
        self.path = path;
        self.hops += 1;
        true
    }

    /// After a call failed: whether it is to be made again, elsewhere.
    ///
    /// # Errors
    /// The path lies elsewhere, and is not to be had there.
    pub(crate) async fn follow(&mut self, error: &Error, below: bool) -> Result<bool> {
        if error.status() != Some(NtStatus::PATH_NOT_COVERED) {
            return Ok(false);
        }
        let tree = Arc::clone(&self.share.tree);
        let connection = tree.connection.clone();
        let root = format!(r"\{}\{}", connection.server(), tree.name);
        let asked = join(&root, &self.path);
        let what = |e: Error| e.during(|| format!("follow {}", tree.describe(&self.path)));
        let referral = connection.refer(&asked).await.map_err(|e| {
            // The failure is the path's: that nobody says where it lies comes on top.
            let text = format!("the path lies on another server, and {e}");
            what(Error::new(ErrorKind::DfsReferral, text))
        })?;
        // The part of the path on this share that the referral is about.
        let consumed = referral.consumed.get(root.len()..);
        let prefix = consumed.map(|part| part.trim_start_matches('\\'));
        let Some(prefix) = prefix else {
            return Err(what(malformed()));
        };
        if below && referral.rest.is_empty() {
            // The link itself is meant.
            return Ok(false);
        }
        let (share, base) = reach(&connection, &referral, &tree.name, self.hops)
            .await
            .map_err(what)?;
        self.path = beneath(&base, &referral.rest);
        self.share = share.clone();
        self.hops += 1;
        let mut links = tree.links.lock();
        links.retain(|link| !link.prefix.eq_ignore_ascii_case(prefix));
        if links.len() >= MAX_LINKS {
            links.remove(0);
        }
        links.push(Link {
            prefix: prefix.into(),
            share,
            base,
        });
        Ok(true)
    }
}

/// What of a path lies below a prefix of whole parts.
fn below_of<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = path.split_at_checked(prefix.len())?;
    if !start.eq_ignore_ascii_case(prefix) {
        return None;
    }
    if prefix.is_empty() || rest.is_empty() {
        return Some(rest);
    }
    rest.strip_prefix('\\')
}

/// A path below another, either of which may be empty.
fn beneath(base: &str, rest: &str) -> String {
    match (base.is_empty(), rest.is_empty()) {
        (_, true) => base.into(),
        (true, _) => rest.into(),
        _ => join(base, rest),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests fail loudly")]
mod tests {
    use super::*;
    use countersign_wire::dfsc::Referral;

    fn response(consumed: u16, addresses: &[&str]) -> ReferralResponse {
        ReferralResponse {
            path_consumed: consumed,
            flags: 2,
            entries: addresses
                .iter()
                .map(|address| Referral {
                    version: 3,
                    root: false,
                    flags: 0,
                    time_to_live: 300,
                    names: ReferralNames::Target {
                        path: String::new(),
                        alternate: String::new(),
                        address: (*address).into(),
                    },
                })
                .collect(),
        }
    }

    #[test]
    fn a_referral_is_taken_apart() {
        let path = r"\dom\dfs\link\sub\file";
        // `\dom\dfs\link` has 13 units.
        let found = referral(path, &response(26, &[r"\a\b\c\d", "rubbish", r"\x\y"])).unwrap();
        assert_eq!(found.consumed, r"\dom\dfs\link");
        assert_eq!(found.rest, r"sub\file");
        assert_eq!(found.time_to_live, 300);
        let expected =
            [("a", "b", r"c\d"), ("x", "y", "")].map(|(server, share, path)| DfsTarget {
                server: server.into(),
                share: share.into(),
                path: path.into(),
            });
        assert_eq!(found.targets, expected);
        // With the separator counted, and all of it.
        assert_eq!(
            referral(path, &response(28, &[r"\a\b"])).unwrap().rest,
            r"sub\file"
        );
        assert_eq!(referral(path, &response(44, &[r"\a\b"])).unwrap().rest, "");
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        let path = r"\dom\dfs\link\sub";
        for wrong in [
            // In the middle of a part, more than was asked, no target, out of it.
            response(24, &[r"\a\b"]),
            response(200, &[r"\a\b"]),
            response(26, &[]),
            response(26, &["nothing"]),
            response(26, &[r"\a\b\..\c"]),
        ] {
            assert_eq!(referral(path, &wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn paths_below_links() {
        for (path, prefix, rest) in [
            (r"link\a", "link", Some("a")),
            (r"LINK\a", "link", Some("a")),
            ("link", "link", Some("")),
            ("linked", "link", None),
            (r"a\link", "link", None),
            ("a", "", Some("a")),
        ] {
            assert_eq!(below_of(path, prefix), rest, "{path}");
        }
        assert_eq!(beneath("", ""), "");
        assert_eq!(beneath("a", ""), "a");
        assert_eq!(beneath("", "b"), "b");
        assert_eq!(beneath("a", "b"), r"a\b");
    }
}
