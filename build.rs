//! Generates the code of `proto/raft.proto`, without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/raft.proto");
    let files = protox::compile(["proto/raft.proto"], ["proto"])?;
    // Bytes stay `Bytes`: they share the buffer that they came in.
    tonic_prost_build::configure().bytes(".").compile_fds(files)?;
    Ok(())
}
