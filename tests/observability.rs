//! Nothing only looks right: every field of INFO that says it moves is made to move, on a node of its own, and every
//! field that says it is fixed at the start differs between starts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sisyphusdb::config::{Config, Loaded, Machine, Sources};
use sisyphusdb::executor::Input;
use sisyphusdb::server::Server;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;

use super::client::Client;

/// Fields that move and that this test does not move, each with where it is shown that they do.
const ELSEWHERE: &[(&str, &str)] = &[
    ("uptime_in_days", "in a day; computed from what moves uptime_in_seconds"),
    ("raft_proposals_refused", "in the simulation, which counts refusals"),
    ("role", "in `cluster`, which sees an election"),
    ("connected_slaves", "in `cluster`, which sees an election"),
    ("raft_role", "in `cluster`, which sees an election"),
    ("raft_leader_id", "in `cluster`, which sees an election"),
    ("raft_current_term", "in `cluster`, which sees an election"),
    ("raft_lease", "in the table's own test: it comes and goes with the word of others"),
    ("raft_leader_changes", "in `cluster`, which sees an election"),
    ("raft_voters", "in the table's own test: it takes a change of the membership"),
    ("raft_learners", "in the table's own test: it takes a change of the membership"),
    ("raft_change_pending", "in the table's own test: it takes a change of the membership"),
    ("peers_refused", "in the tests of the transport, which knock without the secret"),
    ("tunnels_open", "in the tests of the transport"),
    ("tunnels_opened", "in `forwarding`, which sends requests to the leader"),
    ("tunnels_served", "in `forwarding`, which sends requests to the leader"),
    ("tunnel_sent_bytes", "in `forwarding`, which sends requests to the leader"),
    ("tunnel_received_bytes", "in `forwarding`, which sends requests to the leader"),
    ("tunnel_buffer_bytes", "in the tests of the transport, in which a tunnel is not read"),
    ("lsm_old_views", "in the simulation, whose clock moves ten seconds on"),
];

/// Fields fixed at the start that are the same for every start of a test: facts of the machine.
const SAME_HERE: &[&str] =
    &["os", "process_id", "executable", "total_system_memory", "total_system_memory_human", "loading"];

/// How long all of it may take together.
const PATIENCE: Duration = Duration::from_secs(120);

/// The fields of the documentation, with what it says about when they change.
fn documented() -> Vec<(String, String)> {
    let page = sisyphusdb::metrics::markdown();
    let info = page.split("## INFO").nth(1).unwrap();
    info.lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "))
        .map(|(name, change)| (name.to_string(), change.to_string()))
        .collect()
}

fn fields(are: impl Fn(&str) -> bool) -> BTreeSet<String> {
    documented().into_iter().filter(|(_, change)| are(change)).map(|(name, _)| name).collect()
}

/// The fields that move.
fn moving() -> BTreeSet<String> {
    fields(|change| !change.starts_with("*constant") && !change.starts_with("*fixed"))
}

/// A node, a client that looks at it, and the fields that it has not seen moving.
struct Observer {
    server: Server,
    client: Client,
    before: BTreeMap<String, String>,
    still: BTreeSet<String>,
}

impl Observer {
    async fn begin(server: Server) -> Self {
        let mut client = Client::connect(&server).await;
        let before = client.info().await;
        let mut still = moving();
        for (name, _) in ELSEWHERE {
            assert!(still.remove(*name), "{name} is no field that moves");
        }
        assert!(still.len() > 80, "{still:?}");
        Self { server, client, before, still }
    }

    /// Whether all of `fields` have been seen moving, by now.
    async fn saw(&mut self, fields: &[&str]) -> bool {
        let after = self.client.info().await;
        self.still.retain(|name| {
            let (before, after) = (self.before.get(name), after.get(name));
            assert!(before.is_some() && after.is_some(), "INFO does not show {name}");
            before == after
        });
        !fields.iter().any(|field| self.still.contains(*field))
    }

    /// Commands of every kind.
    async fn commands(&mut self) {
        let value = "v".repeat(1000);
        for at in 0..300 {
            self.client.ok(&["SET", &format!("key:{at}"), &value]).await;
        }
        self.client.ask(&["GET", "key:1"]).await;
        self.client.ask(&["GET", "absent"]).await;
        assert!(self.client.ask(&["INCR", "key:1"]).await.starts_with("-ERR value is not an integer"));
        assert!(self.client.ask(&["AUTH", "nobody", "wrong"]).await.starts_with("-WRONGPASS"));
        // A wide MSET is long: it is evaluated elsewhere.
        let words: Vec<String> = (0..2002).map(|at| format!("wide:{}", at / 2)).collect();
        let wide: Vec<&str> = std::iter::once("MSET").chain(words.iter().map(String::as_str)).collect();
        self.client.ok(&wide).await;
        // Two strings of 1 MB in one command are more than an entry holds.
        let large = "l".repeat(1_000_000);
        let refused = self.client.ask(&["MSET", "large:1", &large, "large:2", &large]).await;
        assert!(refused.starts_with("-ERR the effects of this command are larger"), "{refused}");
        assert!(self.saw(&["executor_refused", "executor_stops_long", "acl_access_denied_auth"]).await);
    }

    /// Keys expire by themselves, and under the eyes of who reads them.
    async fn expiry(&mut self) {
        self.client.ok(&["SET", "soon", "gone", "PX", "1"]).await;
        while !self.saw(&["expired_keys"]).await {}
        self.client.ok(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"]).await;
        self.client.ok(&["SET", "due", "and not deleted", "PX", "1"]).await;
        while !self.saw(&["executor_stops_stamp"]).await {
            self.client.ask(&["GET", "due"]).await;
        }
        self.client.ok(&["DEBUG", "SET-ACTIVE-EXPIRE", "1"]).await;
    }

    /// What is in tables is read from them: from the disk, from what the system holds of it, and from the caches.
    async fn tables(&mut self, dir: &Path) {
        fs::write(dir.join("checkpoints"), "in the way").unwrap();
        assert!(self.client.ask(&["SAVE"]).await.starts_with("-ERR "));
        assert!(self.saw(&["rdb_last_bgsave_status"]).await);
        fs::remove_file(dir.join("checkpoints")).unwrap();
        self.client.ok(&["SAVE"]).await;
        for at in (0..300).chain(0..300) {
            self.client.ask(&["GET", &format!("key:{at}")]).await;
        }
        while !self.saw(&["lsm_filter_useful", "lsm_filter_false_positives"]).await {
            for at in 0..200 {
                self.client.ask(&["GET", &format!("key:{at}:absent:{}", fastrand::u64(..))]).await;
            }
        }
        while !self.saw(&["executor_stops_disk"]).await {
            self.client.ok(&["DEBUG", "RELOAD"]).await;
            evict(&dir.join("shard-0/tree"));
            self.client.ask(&["GET", "key:7"]).await;
        }
        let compaction = [
            "lsm_compactions",
            "lsm_compaction_read_bytes",
            "lsm_compaction_written_bytes",
            "rdb_last_save_time",
            "rdb_last_bgsave_time_sec",
        ];
        while !self.saw(&compaction).await {
            for at in 0..100 {
                self.client.ok(&["SET", &format!("key:{at}"), "again"]).await;
            }
            self.client.ok(&["SAVE"]).await;
        }
    }

    /// Clients that ask for too much.
    async fn clients(&mut self) {
        let mut half = Client::connect(&self.server).await;
        half.ok(&["WATCH", "key:1"]).await;
        half.0.write_all(b"*2\r\n$3\r\nGET\r\n$100\r\nhalf").await.unwrap();
        let waits = [
            "connected_clients",
            "watching_clients",
            "total_watched_keys",
            "client_recent_max_input_buffer",
            "mem_clients_normal",
        ];
        while !self.saw(&waits).await {}
        self.client.ok(&["CONFIG", "SET", "maxclients", "2"]).await;
        let mut refused = Client::connect(&self.server).await;
        assert!(refused.reply().await.starts_with("-ERR max number of clients reached"));
        assert!(self.saw(&["rejected_connections", "maxclients"]).await);
        self.client.ok(&["CONFIG", "SET", "maxclients", "100"]).await;

        let mut endless = Client::connect(&self.server).await;
        let megabyte = "m".repeat(1 << 20);
        let piece = format!("${}\r\n{megabyte}\r\n", megabyte.len());
        // The server may close before it has taken everything.
        drop(endless.0.write_all(format!("*9\r\n{piece}{piece}{piece}{piece}").as_bytes()).await);
        endless.closed().await;
        while !self.saw(&["client_query_buffer_limit_disconnections"]).await {}

        self.client.ok(&["SET", "large", &"l".repeat(900_000)]).await;
        let silent = self.silent().await;
        while !self.saw(&["client_recent_max_output_buffer"]).await {}
        self.client.ok(&["CONFIG", "SET", "client-output-buffer-limit", "normal 500000 0 0"]).await;
        let closed = self.silent().await;
        while !self.saw(&["client_output_buffer_limit_disconnections"]).await {}
        drop((half, silent, closed));
    }

    /// A client that asks for much and reads nothing.
    async fn silent(&self) -> Client {
        let mut silent = Client::connect(&self.server).await;
        for _ in 0..64 {
            silent.send(&["GET", "large"]).await;
        }
        silent
    }

    /// What can be seen while the executor is away.
    async fn waiting(&mut self) {
        let shard = Arc::clone(&self.server.services().shard);
        let executor = loop {
            match shard.core().executor.take_idle() {
                Some(executor) => break executor,
                None => tokio::task::yield_now().await,
            }
        };
        let mut waiting = Client::connect(&self.server).await;
        waiting.send(&["SET", "key:1", "waits"]).await;
        assert!(self.client.ask(&["BGSAVE"]).await.starts_with("+Background saving started"));
        let moments = ["executor_queued_messages", "rdb_bgsave_in_progress", "rdb_current_bgsave_time_sec"];
        while !self.saw(&moments).await {}
        shard.core().executor.put_back(executor);
        shard.submit(Input::Resume);
        assert_eq!(waiting.reply().await, "+OK\r\n");
    }

    /// What can be seen under load, and when the tree lags behind.
    async fn load(&mut self) {
        let (stop, stopped) = watch::channel(false);
        let mut writer = Client::connect(&self.server).await;
        let load = tokio::spawn(async move {
            let value = "w".repeat(900_000);
            let mut at = 0;
            while !*stopped.borrow() {
                at += 1;
                writer.ok(&["SET", &format!("load:{}", at % 20), &value]).await;
            }
        });
        // Views that are held keep memtables in memory, until the tree can take no more.
        let shard = Arc::clone(&self.server.services().shard);
        let mut views = Vec::new();
        while shard.core().gauges().debt.pressure < 1000 {
            views.push(shard.core().store().published());
            self.saw(&[]).await;
        }
        drop(views);
        while !self.still.is_empty() {
            self.saw(&[]).await;
        }
        stop.send_replace(true);
        load.await.unwrap();
    }
}

/// Makes the system forget what it holds of the files in `dir`, which are all on the disk.
fn evict(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            evict(&path);
        } else {
            // A file that compaction has just removed need not be forgotten.
            let Ok(file) = File::open(&path) else { continue };
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
    }
}

/// A directory on a disk: what is in memory only cannot be evicted.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn flags(dir: &Path) -> Vec<(&'static str, String)> {
    let flags = [
        ("port", "auto"),
        ("http-port", "auto"),
        ("memory-budget", "64mb"),
        ("replay-bytes-max", "4mb"),
        ("entry-bytes-max", "1500000"),
        ("proto-max-bulk-len", "1mb"),
        ("client-query-buffer-limit", "3mb"),
        ("enable-debug-command", "yes"),
        ("io-threads", "2"),
    ];
    let dir = ("dir", dir.to_str().unwrap().to_string());
    flags.into_iter().map(|(name, value)| (name, value.to_string())).chain([dir]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_that_moves_is_seen_to_move() {
    let directory = directory();
    let flags = flags(directory.path());
    let flags: Vec<(&str, &str)> = flags.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let server = Server::start(Arc::new(Config::from_flags(&flags).unwrap())).await.unwrap();
    let mut observer = Observer::begin(server).await;
    let all = async {
        observer.commands().await;
        observer.expiry().await;
        observer.tables(directory.path()).await;
        observer.clients().await;
        observer.waiting().await;
        observer.load().await;
    };
    let timely = tokio::time::timeout(PATIENCE, all).await.is_ok();
    assert!(timely, "these fields did not move: {:?}", observer.still);
    observer.server.stop().await;
}

/// Starts a node as its command line would, and returns what INFO says.
async fn info_of_start(dir: &Path, file: Option<&Path>, more: &[&str]) -> BTreeMap<String, String> {
    let mut arguments: Vec<String> = file.iter().map(|file| file.to_str().unwrap().to_string()).collect();
    arguments.extend(["--dir", dir.to_str().unwrap()].map(str::to_string));
    arguments.extend(["--port", "auto", "--http-port", "auto"].map(str::to_string));
    arguments.extend(more.iter().map(|word| (*word).to_string()));
    let machine = Machine::detect();
    let sources =
        Sources { arguments, environment: Vec::new(), standard_input: &|| Ok(String::new()), machine };
    let Ok(Loaded::Run(config)) = Config::load(sources) else { panic!("a command line that runs a node") };
    let server = Server::start(Arc::from(config)).await.unwrap();
    let info = Client::connect(&server).await.info().await;
    server.stop().await;
    info
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_fixed_at_the_start_differs_between_starts() {
    let (one, other) = (directory(), directory());
    let file = other.path().join("sisyphusdb.conf");
    fs::write(&file, "maxclients 100\n").unwrap();
    let first = info_of_start(one.path(), None, &["--memory-budget", "64mb", "--io-threads", "1"]).await;
    let again =
        info_of_start(one.path(), Some(&file), &["--memory-budget", "65mb", "--io-threads", "2"]).await;
    let elsewhere =
        info_of_start(other.path(), None, &["--memory-budget", "64mb", "--cluster-enabled", "yes"]).await;
    let fixed = fields(|change| change.starts_with("*fixed"));
    let same: BTreeSet<&str> = fixed
        .iter()
        .map(String::as_str)
        .filter(|name| first[*name] == again[*name] && first[*name] == elsewhere[*name])
        .collect();
    assert_eq!(same, SAME_HERE.iter().copied().collect());
}
