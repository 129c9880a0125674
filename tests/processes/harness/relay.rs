//! A TCP proxy: what stands between a node and the others, and may be cut as a network is. Nobody is told: bytes wait, and
//! come through when it is healed, as TCP sends them again.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::{fs, thread};

/// Passes on what comes to one address to another one.
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    cut: Mutex<Cut>,
    changed: Condvar,
    streams: Mutex<Vec<TcpStream>>,
}

/// Whose connections pass nothing on.
#[derive(Default)]
enum Cut {
    #[default]
    Nobody,
    /// Those that this process has dialled.
    DialledBy(u32),
    Everybody,
}

impl Relay {
    pub(crate) fn start(address: SocketAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stop.load(Ordering::Relaxed) {
                    return;
                }
                let (stream, shared) = (stream.unwrap(), Arc::clone(&accepting));
                thread::spawn(move || shared.carry(&stream, to));
            }
        });
        Self { address, shared }
    }

    /// Nothing passes any more that the process dials here.
    pub(crate) fn cut_from(&self, pid: u32) {
        *self.shared.cut.lock().unwrap() = Cut::DialledBy(pid);
    }

    /// Nothing passes any more.
    pub(crate) fn cut(&self) {
        *self.shared.cut.lock().unwrap() = Cut::Everybody;
    }

    pub(crate) fn heal(&self) {
        *self.shared.cut.lock().unwrap() = Cut::Nobody;
        self.shared.changed.notify_all();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.heal();
        for stream in self.shared.streams.lock().unwrap().iter() {
            // It may be closed already.
            drop(stream.shutdown(Shutdown::Both));
        }
        // The listener looks at `stop` when somebody comes.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn carry(&self, guest: &TcpStream, to: SocketAddr) {
        let dialler = dialler(guest.peer_addr().ok());
        self.wait(dialler);
        let Ok(host) = TcpStream::connect(to) else { return };
        let mut streams = self.streams.lock().unwrap();
        for stream in [guest, &host] {
            stream.set_nodelay(true).unwrap();
            streams.push(stream.try_clone().unwrap());
        }
        drop(streams);
        thread::scope(|scope| {
            scope.spawn(|| self.copy(guest, &host, dialler));
            scope.spawn(|| self.copy(&host, guest, dialler));
        });
    }

    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream, dialler: Option<u32>) {
        let mut chunk = [0; 64 * 1024];
        loop {
            let bytes = from.read(&mut chunk).unwrap_or(0);
            self.wait(dialler);
            if bytes == 0 || to.write_all(&chunk[..bytes]).is_err() {
                break;
            }
        }
        // Both ways end together, so that neither side goes on alone; it may be closed already.
        drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
    }

    /// Waits while connections of this process are cut.
    fn wait(&self, dialler: Option<u32>) {
        let is_cut = |cut: &mut Cut| match cut {
            Cut::Nobody => false,
            Cut::DialledBy(pid) => dialler == Some(*pid),
            Cut::Everybody => true,
        };
        drop(self.changed.wait_while(self.cut.lock().unwrap(), is_cut).unwrap());
    }
}

/// The process that has the other end of a connection on this machine.
fn dialler(peer: Option<SocketAddr>) -> Option<u32> {
    let SocketAddr::V4(peer) = peer? else { return None };
    let ip = u32::from_ne_bytes(peer.ip().octets());
    let local = format!("{ip:08X}:{:04X}", peer.port());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    let line = table.lines().find(|line| line.split_whitespace().nth(1) == Some(&local))?;
    let socket = format!("socket:[{}]", line.split_whitespace().nth(9)?);
    let owns = |pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        files
            .into_iter()
            .any(|file| fs::read_link(file.path()).is_ok_and(|link| link.to_str() == Some(&socket)))
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(owns)
}
