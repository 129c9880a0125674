//! The `sisyphusdb` binary: arguments → configuration → server → exit status.

mod dev_cluster;

use std::backtrace::Backtrace;
use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex};

use anyhow::anyhow;
use sisyphusdb::cli;
use sisyphusdb::config::{Config, Loaded, LogLevel, Machine, Offline, Sources};
use sisyphusdb::server::{Server, inspect, recover_alone, verify};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info, warn};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

/// What `maxclients` is if nothing stands against it.
const CLIENTS_WANTED: usize = 10_000;

/// The environment variable with the password for the verbs that ask a node.
const PASSWORD_VARIABLE: &str = "SISYPHUSDB_PASSWORD";

/// Settings of glibc's allocator, which are read when a process starts (mallopt(3)). By itself it raises both thresholds when a
/// large piece is freed, to tens of megabytes: then memtables and buffers lie among small pieces that live long, and what is
/// freed of them is kept. With these, pieces of a mebibyte and more are given back at once.
const ALLOCATOR: [(&str, &str); 2] =
    [("MALLOC_MMAP_THRESHOLD_", "1048576"), ("MALLOC_TRIM_THRESHOLD_", "8388608")];

/// The environment variable that says that this is done. It is no directive: those begin with the program's name.
const EXECUTED: &str = "_SISYPHUSDB_EXECUTED";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|first| first == "dev-cluster") {
        return dev_cluster::run(&arguments[1..]).unwrap_or_else(|error| complain(&format!("{error:#}")));
    }
    match cli::run(&arguments, std::env::var(PASSWORD_VARIABLE).ok()) {
        Some(Ok(text)) => return print(&text),
        Some(Err(error)) => return complain(&error),
        None => {}
    }
    set_allocator();
    let sources = Sources {
        arguments,
        environment: std::env::vars_os()
            // A variable that is not text is none of ours.
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        standard_input: &|| io::read_to_string(io::stdin()),
        machine: Machine::detect(),
    };
    let config = match Config::load(sources) {
        Ok(Loaded::Run(config)) => Arc::new(*config),
        Ok(Loaded::Offline(verb, config)) => {
            let said = match verb {
                Offline::Inspect => inspect(&config).map(|found| found.to_string()),
                Offline::Recover => recover_alone(&config).map(|found| found.to_string()),
                Offline::Verify => verify(&config).map(|found| {
                    let (tables, records, bytes) = (found.tables, found.records, found.bytes);
                    format!(
                        "the log is whole; so are {tables} tables with {records} records in {bytes} bytes\n"
                    )
                }),
            };
            return match said {
                Ok(text) => print(&text),
                Err(error) => complain(&error),
            };
        }
        Ok(Loaded::Print(text)) => return print(&text),
        Err(error) => return complain(&error),
    };
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error),
    }
}

/// Executes this program once more, as the same process, with the settings of the allocator, unless somebody has made settings.
/// It does so once: the loader erases them from a program that has capabilities of its own, as for ports below 1024.
fn set_allocator() {
    let is_set = |name: &str| std::env::var_os(name).is_some();
    if is_set(EXECUTED) || ALLOCATOR.iter().any(|(name, _)| is_set(name)) {
        return;
    }
    let mut arguments = std::env::args_os();
    if let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) {
        // It returns only if it fails. Then more memory is kept, and that is all.
        drop(Command::new(program).arg0(name).args(arguments).envs(ALLOCATOR).env(EXECUTED, "1").exec());
    }
}

/// Text on standard output, and the status of success.
fn print(text: &str) -> ExitCode {
    // Whoever closed the pipe does not want to read it.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// One line on standard error, and the status of failure. The text of every error names its cause.
fn complain(error: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(io::stderr(), "sisyphusdb: {error}");
    ExitCode::FAILURE
}

fn run(config: &Arc<Config>) -> anyhow::Result<()> {
    start_logging(config)?;
    abort_on_panic();
    let _pidfile = config.pidfile.clone().map(PidFile::write).transpose()?;
    tell_limits(config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.io_threads)
        .thread_name("io")
        .enable_all()
        .build()
        .map_err(|error| anyhow!("cannot start threads: {error}"))?;
    runtime.block_on(serve(config))
}

/// Serves until a signal or a client asks to stop.
async fn serve(config: &Arc<Config>) -> anyhow::Result<()> {
    let mut terminate =
        signal(SignalKind::terminate()).map_err(|error| anyhow!("cannot wait for signals: {error}"))?;
    let mut interrupt =
        signal(SignalKind::interrupt()).map_err(|error| anyhow!("cannot wait for signals: {error}"))?;
    let started = tokio::select! {
        server = Server::start(Arc::clone(config)) => Ok(server?),
        _ = terminate.recv() => Err("SIGTERM"),
        _ = interrupt.recv() => Err("SIGINT"),
    };
    let server = match started {
        Ok(server) => server,
        Err(signal) => {
            info!("stopped before the start was complete: {signal}");
            return Ok(());
        }
    };
    for address in server.resp_addresses() {
        info!("serving RESP on {address}");
    }
    for address in server.http_addresses() {
        info!("serving HTTP on {address}");
    }
    info!("ready");
    tokio::select! {
        _ = terminate.recv() => info!("stopping: SIGTERM"),
        _ = interrupt.recv() => info!("stopping: SIGINT"),
        () = server.stop_requested() => info!("stopping: SHUTDOWN"),
        () = server.removed() => {
            server.stop().await;
            return Err(anyhow!("this node was removed from its cluster; its directory is of no use any more"));
        }
    }
    tokio::select! {
        () = server.stop() => info!("stopped"),
        // Whoever asks twice is in a hurry. Nothing that was acknowledged depends on an orderly end.
        _ = terminate.recv() => warn!("stopped at once: a second SIGTERM"),
        _ = interrupt.recv() => warn!("stopped at once: a second SIGINT"),
    }
    Ok(())
}

/// Logs to `logfile` or standard error what `loglevel` asks for, also after CONFIG SET.
fn start_logging(config: &Config) -> anyhow::Result<()> {
    let writer = match &config.logfile {
        Some(path) => {
            let file = OpenOptions::new().create(true).append(true).open(path);
            let file = file.map_err(|error| anyhow!("cannot open logfile {}: {error}", path.display()))?;
            BoxMakeWriter::new(Mutex::new(file))
        }
        None => BoxMakeWriter::new(io::stderr),
    };
    let colored = config.logfile.is_none() && io::stderr().is_terminal();
    let (filter, handle) = reload::Layer::new(level_filter(config.settings().loglevel));
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colored).with_target(false);
    tracing_subscriber::registry().with(filter).with(lines).init();
    config.on_change(move |settings| {
        handle.reload(level_filter(settings.loglevel)).expect("the subscriber lives as long as the process");
    });
    Ok(())
}

fn level_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Nothing => LevelFilter::OFF,
    }
}

/// A panic in any thread ends the process: a node that goes on without one of its parts would answer wrongly.
fn abort_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        error!("{panic}\n{}", Backtrace::force_capture());
        std::process::abort();
    }));
}

/// Says which limits hold, and what of the configuration has no effect.
fn tell_limits(config: &Config) {
    let settings = config.settings();
    info!(
        "sisyphusdb {}, process {}, data in {}, {} threads",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        config.dir.display(),
        config.io_threads
    );
    info!(
        "memory budget {} MiB (memtables 4 × {} MiB, caches {} MiB), longest value {} MiB, {} clients",
        config.memory_budget_bytes >> 20,
        config.memtable_bytes() >> 20,
        config.cache_bytes() >> 20,
        settings.proto_max_bulk_len >> 20,
        settings.maxclients
    );
    if settings.maxclients < CLIENTS_WANTED && !config.is_set("maxclients") {
        warn!("the limit of open files allows {} clients, not {CLIENTS_WANTED}", settings.maxclients);
    }
    if settings.requirepass.is_none() && !config.bind.iter().all(|address| address.is_loopback()) {
        warn!("other machines can use this node without a password (protected-mode no)");
    }
    for (name, value, reason) in config.ignored() {
        warn!("{name} {value} has no effect: {reason}");
    }
}

/// The file with the process id, removed when the process ends in order.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: PathBuf) -> anyhow::Result<Self> {
        fs::write(&path, format!("{}\n", std::process::id()))
            .map_err(|error| anyhow!("cannot write pidfile {}: {error}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // The process ends: there is nothing to be done about it.
        let _ = fs::remove_file(&self.0);
    }
}
