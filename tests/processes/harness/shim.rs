//! A disk that fails on command: a preloaded library between the server and `fdatasync`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// What the shim makes of a sync.
#[derive(Clone, Copy)]
pub(crate) enum Fault {
    /// It is passed on.
    None,
    /// It fails with EIO.
    Fails,
    /// It takes this much longer.
    Slow { milliseconds: u32 },
    /// It succeeds without being done: the bug that a power cut must reveal.
    Skipped,
}

/// The compiled library and the file that switches it.
pub(crate) struct Shim {
    library: PathBuf,
    control: PathBuf,
    _dir: tempfile::TempDir,
}

impl Shim {
    /// Compiles `shim.c`.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (library, control) = (dir.path().join("shim.so"), dir.path().join("control"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/processes/harness/shim.c");
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"])
            .args([library.as_os_str(), source.as_ref(), "-ldl".as_ref()])
            .status()
            .unwrap();
        assert!(status.success(), "shim.c must compile");
        let shim = Self { library, control, _dir: dir };
        shim.set(Fault::None);
        shim
    }

    /// Applies to all syncs from now on.
    pub(crate) fn set(&self, fault: Fault) {
        let line = match fault {
            Fault::None => "none".to_owned(),
            Fault::Fails => "fail".to_owned(),
            Fault::Slow { milliseconds } => format!("slow {milliseconds}"),
            Fault::Skipped => "skip".to_owned(),
        };
        let next = self.control.with_extension("next");
        fs::write(&next, line).unwrap();
        fs::rename(&next, &self.control).unwrap();
    }

    /// The environment that puts a server behind the shim.
    pub(crate) fn env(&self) -> [(String, String); 2] {
        let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
        [("LD_PRELOAD".to_owned(), text(&self.library)), ("SHIM_CONTROL".to_owned(), text(&self.control))]
    }
}
