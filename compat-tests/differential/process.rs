//! Servers as processes of their own: ours, and the real ones that it is compared with.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::wire::Wire;

/// How long a server may take to answer its first PING.
const START_MAX: Duration = Duration::from_secs(20);

/// A server on a free port and in a directory of its own; it ends when this is dropped.
pub(crate) struct Process {
    pub(crate) address: SocketAddr,
    child: Child,
    _directory: TempDir,
}

impl Process {
    /// Starts `program` with directives in the manner of redis-server, and waits until it answers.
    ///
    /// # Errors
    /// When it does not: a server that is missing is a failure.
    pub(crate) fn start(program: &Path, directives: &[&str]) -> Result<Self, String> {
        Self::try_start(program, directives)
            .map_err(|error| format!("cannot start {}: {error}", program.display()))
    }

    fn try_start(program: &Path, directives: &[&str]) -> io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let child = Command::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--enable-debug-command", "yes"])
            .args(["--loglevel", "warning"])
            .args(directives)
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .spawn()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut process = Self { address, child, _directory: directory };
        process.wait()?;
        Ok(process)
    }

    fn wait(&mut self) -> io::Result<()> {
        let started = Instant::now();
        while started.elapsed() < START_MAX {
            if Wire::connect(self.address).and_then(|mut wire| wire.ask(&["PING"])).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(io::Error::other(format!("it ended: {status}")));
            }
            std::thread::yield_now();
        }
        Err(io::Error::other("it does not answer"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It holds nothing worth keeping; one that has ended already cannot be killed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
