//! The `sisyphusdb` binary.

use std::{process::ExitCode, sync::Arc};

use sisyphusdb::{
    config::{Config, Loaded, Machine, Sources},
    server::Server,
};

fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|info| {
        eprintln!("{info}");
        std::process::abort()
    }));
    tracing_subscriber::fmt().init();
    let loaded = Config::load(Sources {
        arguments: std::env::args().skip(1).collect(),
        environment: std::env::vars().collect(),
        standard_input: &|| std::io::read_to_string(std::io::stdin()),
        machine: Machine::detect(),
    });
    let config = match loaded {
        Ok(Loaded::Run(config)) => *config,
        Ok(Loaded::Print(text)) => {
            eprintln!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(e) => {
            eprintln!("{e}");
            return ExitCode::FAILURE;
        }
    };
    let config = Arc::new(config);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(config.io_threads)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = Server::start(config).await.unwrap();
        eprintln!("{:?}", server.resp_addresses());
        tokio::select! { _ = tokio::signal::ctrl_c() => {}, () = server.stop_requested() => {} }
        server.stop().await;
    });
    ExitCode::SUCCESS
}
