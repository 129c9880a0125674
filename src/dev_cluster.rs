//! `sisyphusdb dev-cluster`: three nodes on this machine, to try things with. One that dies is started again.

use std::{
    io::{self, BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, Command, ExitCode, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError, Sender},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "\
Starts three nodes of a cluster on this machine, to try things with, until it is interrupted.

Usage: sisyphusdb dev-cluster [--dir DIR] [--DIRECTIVE VALUE ...]

  --dir DIR   where the nodes keep their data, each in a directory of its own (default: ./dev-cluster);
              with what is there they go on

Every other directive is given to all three nodes, but those for the ports, the peers and the name. They listen on 127.0.0.1:

              Redis, for cluster clients   Redis, for plain clients   HTTP   other nodes
  node 1      7001                         7101                       8001   5001
  node 2      7002                         7102                       8002   5002
  node 3      7003                         7103                       8003   5003

A node that dies (try kill -9 with the number of its process, which is printed) is started again after five seconds; one that
cannot start ends them all. Ctrl-C lets all three stop in order, a second one at
once. A kill -9 of this program leaves the nodes running: they have to be stopped one by one.
";

/// How many nodes there are.
const NODES: u16 = 3;

/// How long a node that died stays away: long enough to see the others go on without it.
const AWAY: Duration = Duration::from_secs(5);

/// The directives that differ from node to node.
const OWN: [&str; 7] =
    ["--port", "--proxy-port", "--http-port", "--peer-port", "--peers", "--join", "--name"];

/// How the line ends that a node says when it serves.
const READY: &str = " ready";

/// What happens.
enum Event {
    /// A node said something.
    Line(u16, String),
    /// A node's output has ended, and so has the node.
    Ended(u16),
    /// Somebody wants all this to end.
    Stop,
}

/// A node that runs, or that is away.
struct Node {
    number: u16,
    child: Option<Child>,
    again_at: Option<Instant>,
    /// It has served, this time or before.
    has_served: bool,
}

/// Runs the cluster that `arguments` ask for, until it is told to stop.
pub(crate) fn run(arguments: &[String]) -> anyhow::Result<ExitCode> {
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        write!(io::stdout(), "{USAGE}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let (dir, directives) = split(arguments)?;
    let (sender, events) = mpsc::channel();
    thread::spawn({
        let sender = sender.clone();
        move || wait_for_signals(&sender)
    });
    let mut nodes: Vec<Node> = (1..=NODES).map(Node::new).collect();
    say(
        "three nodes: redis-cli -c -p 7001 · redis-cli -p 7101 · curl 'http://127.0.0.1:8001/get?key=…' · Ctrl-C ends them",
    );
    loop {
        for node in &mut nodes {
            if node.again_at.is_some_and(|at| at <= Instant::now()) {
                node.start(&dir, &directives, &sender)?;
            }
        }
        let next = nodes.iter().filter_map(|node| node.again_at).min();
        let wait = next.map_or(AWAY, |at| at.saturating_duration_since(Instant::now()));
        match events.recv_timeout(wait) {
            Ok(Event::Line(number, line)) => {
                nodes[usize::from(number - 1)].has_served |= line.ends_with(READY);
                say(&format!("{number} | {line}"));
            }
            Ok(Event::Ended(number)) => {
                nodes[usize::from(number - 1)].ended()?;
                let is_in_vain = nodes.iter().any(|node| node.is_gone() && !node.has_served);
                if is_in_vain || nodes.iter().all(Node::is_gone) {
                    stop(&mut nodes, &events)?;
                    return Ok(ExitCode::FAILURE);
                }
            }
            Ok(Event::Stop) => break,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("nobody says anything any more"),
        }
    }
    stop(&mut nodes, &events)?;
    Ok(ExitCode::SUCCESS)
}

/// Takes the directory out of the directives.
fn split(arguments: &[String]) -> anyhow::Result<(PathBuf, Vec<String>)> {
    let mut dir = PathBuf::from("dev-cluster");
    let mut directives = Vec::new();
    if let Some(first) = arguments.first().filter(|first| !first.starts_with("--")) {
        bail!("'{first}' is no directive (see --help)");
    }
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--dir" {
            dir = rest.next().ok_or_else(|| anyhow!("--dir needs a directory"))?.into();
        } else if OWN.contains(&argument.as_str()) {
            bail!("{argument} is not for all nodes: each has its own (see --help)");
        } else {
            directives.push(argument.clone());
        }
    }
    Ok((dir, directives))
}

impl Node {
    /// One that is to be started.
    fn new(number: u16) -> Self {
        Self { number, child: None, again_at: Some(Instant::now()), has_served: false }
    }

    /// It does not run, and will not be started.
    fn is_gone(&self) -> bool {
        self.child.is_none() && self.again_at.is_none()
    }

    fn start(
        &mut self,
        dir: &std::path::Path,
        directives: &[String],
        events: &Sender<Event>,
    ) -> anyhow::Result<()> {
        let number = self.number;
        let dir = dir.join(format!("node-{number}"));
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("cannot make the directory {}", dir.display()))?;
        let peers: Vec<String> = (1..=NODES).map(|node| format!("127.0.0.1:{}", 5000 + node)).collect();
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut child = Command::new(program)
            .args(["--port", &(7000 + number).to_string(), "--proxy-port", &(7100 + number).to_string()])
            .args(["--http-port", &(8000 + number).to_string(), "--peer-port", &(5000 + number).to_string()])
            .args(["--peers", &peers.join(","), "--name", &format!("node-{number}")])
            .arg("--dir")
            .arg(dir)
            .args(directives)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            // Of its own, so that a Ctrl-C at the terminal reaches the nodes by way of this process only, and not twice.
            .process_group(0)
            .spawn()
            .context("cannot start a node")?;
        let output = child.stderr.take().expect("it was asked for");
        let events = events.clone();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // Without a receiver all is over.
                drop(events.send(Event::Line(number, line)));
            }
            drop(events.send(Event::Ended(number)));
        });
        say(&format!("node {number} is process {}", child.id()));
        self.child = Some(child);
        self.again_at = None;
        Ok(())
    }

    fn ended(&mut self) -> anyhow::Result<()> {
        if let Some(mut child) = self.child.take() {
            let status = child.wait().context("cannot wait for a node")?;
            let then = if starts_again(status) {
                self.again_at = Some(Instant::now() + AWAY);
                format!("it starts again in {} s", AWAY.as_secs())
            } else {
                "it is not started again".to_owned()
            };
            say(&format!("node {} has ended ({status}); {then}", self.number));
        }
        Ok(())
    }
}

/// Whether a node that ended like this may run again: who says an error and exits has found that it cannot.
fn starts_again(status: ExitStatus) -> bool {
    status.success() || status.code().is_none()
}

/// Lets all nodes stop in order, and waits for them.
fn stop(nodes: &mut [Node], events: &mpsc::Receiver<Event>) -> anyhow::Result<()> {
    terminate(nodes);
    while nodes.iter().any(|node| node.child.is_some()) {
        match events.recv()? {
            Event::Line(number, line) => say(&format!("{number} | {line}")),
            Event::Ended(number) => {
                if let Some(mut child) = nodes[usize::from(number - 1)].child.take() {
                    child.wait().context("cannot wait for a node")?;
                }
            }
            // A node that is asked twice stops at once.
            Event::Stop => terminate(nodes),
        }
    }
    Ok(())
}

/// Asks the nodes that run to end.
fn terminate(nodes: &[Node]) {
    for child in nodes.iter().filter_map(|node| node.child.as_ref()) {
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            // One that has gone already needs no signal.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

fn wait_for_signals(events: &Sender<Event>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let waited = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let (mut terminate, mut interrupt) =
                (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if events.send(Event::Stop).is_err() {
                    return Ok::<_, io::Error>(());
                }
            }
        })
    });
    if let Err(error) = waited {
        say(&format!("cannot wait for signals: {error}"));
        // Without a receiver all is over.
        drop(events.send(Event::Stop));
    }
}

fn say(line: &str) {
    // Whoever closed the terminal does not want to read it.
    let _ = writeln!(io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn nodes_are_told_what_is_for_all_of_them() {
        let (dir, directives) = split(&words("--memory-budget 64mb --dir here --appendonly yes")).unwrap();
        assert_eq!(dir, PathBuf::from("here"));
        assert_eq!(directives, words("--memory-budget 64mb --appendonly yes"));
        for own in OWN {
            assert!(split(&words(&format!("{own} 1"))).is_err(), "{own}");
        }
        assert!(split(&words("--dir")).is_err() && split(&words("node.conf")).is_err());
    }

    #[test]
    fn who_cannot_start_is_not_started_again() {
        assert!(starts_again(ExitStatus::from_raw(9)), "kill -9");
        assert!(starts_again(ExitStatus::from_raw(0)), "SHUTDOWN");
        assert!(!starts_again(ExitStatus::from_raw(1 << 8)), "it complains");
    }
}
