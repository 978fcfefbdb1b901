//! A tree connect that follows its connection when that is made again.

use std::sync::Arc;

use countersign_core::client::{Answer, Call, TreeConnected, TreeId};
use countersign_core::config::Dialect;
use parking_lot::Mutex;

use crate::connection::{Connection, unexpected};
use crate::dfs::Link;
use crate::error::Result;
use crate::live::Live;
use crate::path::join;

/// How often a call is tried on a new connection.
pub(crate) const TRIES: usize = 3;

pub(crate) struct Tree {
    pub(crate) connection: Connection,
    pub(crate) name: String,
    state: Mutex<Option<(u64, TreeConnected)>>,
    connecting: tokio::sync::Mutex<()>,
    /// Links of a DFS namespace on it that were followed.
    pub(crate) links: Mutex<Vec<Link>>,
}

impl Tree {
    pub(crate) async fn connect(connection: Connection, name: &str) -> Result<Arc<Self>> {
        let tree = Self {
            connection,
            name: name.into(),
            state: Mutex::new(None),
            connecting: tokio::sync::Mutex::new(()),
            links: Mutex::new(Vec::new()),
        };
        tree.ready().await?;
        Ok(Arc::new(tree))
    }

    /// `\\server\share` or `\\server\share\path`.
    pub(crate) fn describe(&self, path: &str) -> String {
        let server = self.connection.server();
        let mut text = format!(r"\\{server}\{}", self.name);
        if !path.is_empty() {
            text = join(&text, path);
        }
        // There, a link looks as if nothing were there.
        let old = self.connection.current().negotiated.dialect == Dialect::Smb1;
        if old && self.facts().is_some_and(|tree| tree.dfs) {
            text.push_str(" (part of a DFS namespace, whose links are not followed over SMB1)");
        }
        text
    }

    /// Whether it is the same share of the same server.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let server = self.connection.server();
        server.eq_ignore_ascii_case(other.connection.server())
            && self.name.eq_ignore_ascii_case(&other.name)
    }

    /// The connection and the tree on it.
    pub(crate) async fn ready(&self) -> Result<(Arc<Live>, TreeConnected)> {
        let live = self.connection.live().await?;
        if let Some(tree) = self.known(&live) {
            return Ok((live, tree));
        }
        let _connecting = self.connecting.lock().await;
        if let Some(tree) = self.known(&live) {
            return Ok((live, tree));
        }
        let call = Call::TreeConnect {
            share: self.name.clone(),
        };
        match live.line.call(call).await? {
            Answer::Tree(tree) => {
                *self.state.lock() = Some((live.generation, tree));
                Ok((live, tree))
            }
            _ => Err(unexpected()),
        }
    }

    fn known(&self, live: &Live) -> Option<TreeConnected> {
        let state = self.state.lock();
        state.and_then(|(generation, tree)| (generation == live.generation).then_some(tree))
    }

    /// What the share is, as far as is known.
    pub(crate) fn facts(&self) -> Option<TreeConnected> {
        self.state.lock().map(|(_, tree)| tree)
    }

    /// A call that may be made again when the connection is lost under it.
    pub(crate) async fn call(&self, make: impl Fn(TreeId) -> Call) -> Result<Answer> {
        let mut tries = 0;
        loop {
            let (live, tree) = self.ready().await?;
            match live.line.call(make(tree.tree)).await {
                Err(error) if error.is_transient() && tries < TRIES => tries += 1,
                other => return other,
            }
        }
    }

    /// A call that is made once: what became of it is not known when the
    /// connection is lost under it.
    pub(crate) async fn call_once(&self, make: impl FnOnce(TreeId) -> Call) -> Result<Answer> {
        let (live, tree) = self.ready().await?;
        live.line.call(make(tree.tree)).await
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        if let Some((generation, tree)) = self.state.lock().take() {
            let live = self.connection.current();
            if live.generation == generation {
                live.line.forget(Call::TreeDisconnect(tree.tree));
            }
        }
    }
}
