//! Places in the project.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Res;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// A file of the tests.
pub(crate) fn testdata(path: &str) -> PathBuf {
    root().join("testdata").join(path)
}

/// Where build results go.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// An empty folder for one run below the target folder.
pub(crate) fn scratch(name: &str) -> Res<PathBuf> {
    let folder = target().join("xtask").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder)
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    let mut c = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    c.current_dir(root());
    c
}

/// Builds the release binary; where it is.
pub(crate) fn build_release() -> Res<PathBuf> {
    if let Some(given) = std::env::var_os("COUNTERSIGN_BINARY") {
        return Ok(PathBuf::from(given));
    }
    let status = cargo()
        .args(["build", "--release", "--package", "countersign"])
        .status()
        .map_err(|e| format!("cargo: {e}"))?;
    if !status.success() {
        return Err("the release binary does not build".to_owned());
    }
    Ok(target().join("release/countersign"))
}

/// A folder in memory, where the system has one for that.
pub(crate) fn in_memory(name: &str) -> Res<PathBuf> {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() {
        Ok(memory.join(format!("{name}-{}", std::process::id())))
    } else {
        scratch(name)
    }
}
