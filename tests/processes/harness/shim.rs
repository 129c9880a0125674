//! A system that misbehaves on command: a preloaded library between the server and its disk, its clock, and the names of
//! other machines.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
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
    /// It takes this much longer if it is of a table, and not of the log.
    SlowTables { milliseconds: u32 },
    /// It succeeds without being done: the bug that a power cut must reveal.
    Skipped,
}

/// The compiled library and the file that switches it.
pub(crate) struct Shim {
    library: PathBuf,
    control: PathBuf,
    hosts: PathBuf,
    _dir: tempfile::TempDir,
}

impl Shim {
    /// Compiles `shim.c`.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [library, control, hosts] = ["shim.so", "control", "hosts"].map(|name| dir.path().join(name));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/processes/harness/shim.c");
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"])
            .args([library.as_os_str(), source.as_ref(), "-ldl".as_ref()])
            .status()
            .unwrap();
        assert!(status.success(), "shim.c must compile");
        let shim = Self { library, control, hosts, _dir: dir };
        shim.set(Fault::None);
        shim
    }

    /// Applies to all syncs from now on.
    pub(crate) fn set(&self, fault: Fault) {
        let line = match fault {
            Fault::None => "none".to_owned(),
            Fault::Fails => "fail".to_owned(),
            Fault::Slow { milliseconds } => format!("slow {milliseconds}"),
            Fault::SlowTables { milliseconds } => format!("slow-tables {milliseconds}"),
            Fault::Skipped => "skip".to_owned(),
        };
        replace(&self.control, &line);
    }

    /// From now on these names under `.test` have these addresses, and no others do.
    pub(crate) fn resolve(&self, names: &[(String, Ipv4Addr)]) {
        let lines: String = names.iter().map(|(name, address)| format!("{name} {address}\n")).collect();
        replace(&self.hosts, &lines);
    }

    /// The environment that puts a server behind the shim.
    pub(crate) fn env(&self) -> [(String, String); 3] {
        let paths =
            [("LD_PRELOAD", &self.library), ("SHIM_CONTROL", &self.control), ("SHIM_HOSTS", &self.hosts)];
        paths.map(|(name, path)| (name.to_owned(), path.to_str().unwrap().to_owned()))
    }
}

/// Writes a file that a process may read at any moment.
fn replace(path: &Path, text: &str) {
    let next = path.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(&next, path).unwrap();
}
