//! A server in a process of its own.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Client;

/// How long anything here may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The ports of a server that has an address of its own: for RESP, for clients that know no cluster, and for HTTP.
pub(crate) const PORTS: [u16; 3] = [16379, 16380, 18001];

/// How a server is to be started.
pub(crate) struct Launch<'a> {
    pub(crate) dir: &'a Path,
    /// Where it listens, if the ports are not any that are free: an address that nobody else uses.
    pub(crate) host: Option<Ipv4Addr>,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
}

impl<'a> Launch<'a> {
    pub(crate) fn new(dir: &'a Path) -> Self {
        Self { dir, host: None, args: Vec::new(), env: Vec::new() }
    }

    pub(crate) fn arg(mut self, name: &str, value: &str) -> Self {
        self.args.extend([name.to_owned(), value.to_owned()]);
        self
    }

    pub(crate) fn env(mut self, pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        self.env.extend(pairs);
        self
    }

    /// Starts the process, and does not wait for it.
    pub(crate) fn spawn(&self) -> Server {
        let host = self.host.unwrap_or(Ipv4Addr::LOCALHOST);
        let [port, proxy_port, http_port] = match self.host {
            Some(_) => PORTS,
            None => free_ports(),
        };
        let log = self.dir.with_extension("log");
        let output = File::options().create(true).append(true).open(&log).unwrap();
        let child = Command::new(program())
            .args(["--bind", &host.to_string(), "--dir", self.dir.to_str().unwrap()])
            .args(["--port", &port.to_string(), "--http-port", &http_port.to_string()])
            .args(["--proxy-port", &proxy_port.to_string()])
            .args(&self.args)
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Server { child, address: SocketAddr::from((host, port)), http_port, log }
    }

    /// Runs the process with `--verify`; returns its exit status and what it printed.
    pub(crate) fn verify(&self) -> (Option<i32>, String) {
        let run =
            Command::new(program()).args(["--verify", "--dir", self.dir.to_str().unwrap()]).output().unwrap();
        let text = [run.stdout, run.stderr].concat();
        (run.status.code(), String::from_utf8_lossy(&text).into_owned())
    }

    /// Starts the process and waits until it answers PING.
    pub(crate) fn start(&self) -> Server {
        self.try_start().unwrap_or_else(|output| panic!("the server does not start:\n{output}"))
    }

    /// As [`Launch::start`]; what it has printed if it ends instead.
    pub(crate) fn try_start(&self) -> Result<Server, String> {
        loop {
            let mut server = self.spawn();
            let mut ended = false;
            wait_for("the server answers PING", || {
                ended = server.child.try_wait().unwrap().is_some();
                ended || Client::connect(server.address).is_ok_and(|mut client| client.ping())
            });
            let output = server.output();
            if !ended {
                return Ok(server);
            }
            // Between the choice of a port and its use something else on this machine may have taken it.
            if !output.lines().last().is_some_and(|line| line.contains("cannot listen on")) {
                return Err(output);
            }
        }
    }
}

/// A child process; killed when it goes out of scope.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) http_port: u16,
    log: PathBuf,
}

impl Server {
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address).unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`: nothing of the process runs on.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks the process to end (SIGTERM), and says how it did.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits until the process ends by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        wait_for("the server ends", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        ended.unwrap()
    }

    /// Whether the process has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Whether the process ends by itself, and soon.
    pub(crate) fn ends_within_a_second(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(1) {
            if self.has_ended() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }

    /// What it has printed, with all that ran before it on the same directory.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already, and then there is nothing to do.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Polls until `condition` holds; fails when that takes too long.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Ports for RESP and HTTP that nobody has just now, and none for the proxy.
fn free_ports() -> [u16; 3] {
    // Two listeners at once, so that they are two ports.
    let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let [port, http_port] = listeners.map(|listener| listener.local_addr().unwrap().port());
    [port, 0, http_port]
}

/// The program as `cargo build --release` makes it, in this target directory; `SISYPHUSDB_TEST_PROGRAM` names another.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        if let Some(path) = std::env::var_os("SISYPHUSDB_TEST_PROGRAM") {
            return PathBuf::from(path);
        }
        let test = std::env::current_exe().unwrap();
        let target = test.ancestors().nth(3).unwrap();
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--bin", "sisyphusdb", "--target-dir"])
            .arg(target)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "the program must build");
        target.join("release/sisyphusdb")
    })
}
