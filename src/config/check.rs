//! What must hold between directives.

use super::machine::Machine;
use super::values::Values;

/// A directive that is at fault, and what is wrong.
type Fault = (&'static str, String);

/// What stands around the value in a reply of one value, in bytes, at most.
const REPLY_HEADER_BYTES: u64 = 1024;

/// Checks what one row alone cannot: at start, and again for each CONFIG SET.
pub(super) fn consistent(values: &Values, machine: &Machine) -> Result<(), Fault> {
    protected(values)?;
    sizes(values)?;
    timings(values)?;
    ports(values)?;
    let wanted: u64 = values.number("maxclients");
    let possible = machine.clients_max();
    if wanted > possible {
        return Err((
            "maxclients",
            format!(
                "The operating system is not able to handle the specified number of clients, try with {possible}"
            ),
        ));
    }
    cluster(values)
}

/// A node that listens beyond its machine without a password is open to everyone: worms live on that.
fn protected(values: &Values) -> Result<(), Fault> {
    let open = values.addresses("bind").into_iter().find(|address| !address.is_loopback());
    match open {
        Some(address) if values.is_yes("protected-mode") && values.text("requirepass").is_empty() => Err((
            "protected-mode",
            format!(
                "bind {} listens beyond this machine without a password: set requirepass, or protected-mode no",
                address.ip
            ),
        )),
        _ => Ok(()),
    }
}

fn sizes(values: &Values) -> Result<(), Fault> {
    let bulk: u64 = values.number("proto-max-bulk-len");
    let entry: u64 = values.number("entry-bytes-max");
    // An entry holds, beside the value, its key, its metadata and its time to live.
    if bulk > entry - entry / 16 {
        return Err((
            "proto-max-bulk-len",
            format!("a value of {bulk} bytes does not fit an entry of entry-bytes-max {entry}"),
        ));
    }
    if values.number::<u64>("client-query-buffer-limit") < bulk {
        return Err((
            "client-query-buffer-limit",
            format!("it must be at least proto-max-bulk-len, which is {bulk}"),
        ));
    }
    // Else there were values that can be written and not read.
    if values.number::<u64>("reply-bytes-max") < bulk.saturating_add(REPLY_HEADER_BYTES) {
        return Err((
            "reply-bytes-max",
            format!(
                "it must be at least proto-max-bulk-len, which is {bulk}, and {REPLY_HEADER_BYTES} bytes"
            ),
        ));
    }
    Ok(())
}

fn timings(values: &Values) -> Result<(), Fault> {
    let [heartbeat, promise, election] =
        ["raft-heartbeat-ms", "raft-promise-ms", "raft-election-ms"].map(|name| values.number::<u64>(name));
    if promise < 2 * heartbeat {
        return Err(("raft-promise-ms", "it must be at least twice raft-heartbeat-ms".to_string()));
    }
    if election <= promise {
        return Err(("raft-election-ms", "it must be more than raft-promise-ms".to_string()));
    }
    Ok(())
}

/// What a member of a cluster needs, and what only one can have.
fn cluster(values: &Values) -> Result<(), Fault> {
    let is_set = |name: &str| !values.text(name).is_empty();
    if is_set("peers") && is_set("join") {
        return Err(("join", "peers forms a cluster and join enters one: set one of the two".to_string()));
    }
    let announced = values.text("announce-peer");
    if is_set("peers")
        && is_set("announce-peer")
        && !values.text("peers").split(',').any(|peer| peer == announced)
    {
        return Err(("announce-peer", format!("'{announced}' is not one of peers")));
    }
    if values.is_in_cluster() && values.port("peer-port").is_none() {
        return Err((
            "peer-port",
            "the other nodes need it: it cannot be off with peers or join".to_string(),
        ));
    }
    if is_set("peer-secret") && is_set("peer-secret-file") {
        return Err(("peer-secret-file", "peer-secret is set too: one secret is enough".to_string()));
    }
    const TLS: [&str; 3] = ["peer-tls-cert-file", "peer-tls-key-file", "peer-tls-ca-cert-file"];
    match TLS.into_iter().find(|name| !is_set(name)) {
        Some(missing) if TLS.into_iter().any(is_set) => {
            Err((missing, format!("TLS between nodes needs all of {}", TLS.join(", "))))
        }
        _ => Ok(()),
    }
}

fn ports(values: &Values) -> Result<(), Fault> {
    const NAMES: [&str; 4] = ["port", "proxy-port", "http-port", "peer-port"];
    for (at, name) in NAMES.into_iter().enumerate() {
        let port = values.port(name).filter(|port| *port > 0);
        // The ports for other nodes are not opened by a node that stands alone.
        let used = |name: &str| values.is_in_cluster() || name == "port" || name == "http-port";
        let same = |other: &&&str| used(other) && values.port(other) == port;
        if let (Some(port), Some(other), true) = (port, NAMES[..at].iter().find(same), used(name)) {
            return Err((name, format!("{port} is the value of {other} too")));
        }
    }
    Ok(())
}
