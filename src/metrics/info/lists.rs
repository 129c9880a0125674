//! The fields of INFO that there are as many of as there are listeners, commands, errors, databases or levels.

use super::{Lines, Snapshot};

pub(super) fn listeners(snapshot: &Snapshot<'_>) -> Lines {
    let process = &snapshot.status.process;
    let tcp = process.resp_addresses.iter().map(|address| ("tcp", address));
    let http = process.http_addresses.iter().map(|address| ("http", address));
    let line = |(at, (name, address)): (usize, (&str, &std::net::SocketAddr))| {
        (format!("listener{at}"), format!("name={name},bind={},port={}", address.ip(), address.port()))
    };
    tcp.chain(http).enumerate().map(line).collect()
}

pub(super) fn commands(snapshot: &Snapshot<'_>) -> Lines {
    let line = |(name, totals): (&str, &crate::metrics::CommandTotals)| {
        let usec = totals.latencies.total().as_micros();
        let per_call = totals.latencies.total().as_secs_f64() * 1e6 / totals.calls.max(1) as f64;
        (
            format!("cmdstat_{name}"),
            format!(
                "calls={},usec={usec},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}",
                totals.calls, totals.rejected, totals.failed
            ),
        )
    };
    snapshot.totals.named_commands().map(line).collect()
}

pub(super) fn errors(snapshot: &Snapshot<'_>) -> Lines {
    let errors = snapshot.totals.errors.iter();
    errors.map(|(kind, count)| (format!("errorstat_{kind}"), format!("count={count}"))).collect()
}

pub(super) fn latencies(snapshot: &Snapshot<'_>) -> Lines {
    if !snapshot.status.configured.latency_tracking {
        return Vec::new();
    }
    let percentiles = &snapshot.status.configured.latency_percentiles;
    let commands = snapshot.totals.named_commands().filter(|(_, totals)| totals.latencies.count() > 0);
    commands
        .map(|(name, totals)| {
            let values: Vec<String> = percentiles
                .iter()
                .map(|percent| {
                    format!("p{percent}={:.3}", totals.latencies.percentile(*percent).as_secs_f64() * 1e6)
                })
                .collect();
            (format!("latency_percentiles_usec_{name}"), values.join(","))
        })
        .collect()
}

pub(super) fn databases(snapshot: &Snapshot<'_>) -> Lines {
    let databases = snapshot.status.databases.iter().filter(|database| database.keys > 0);
    databases
        .map(|database| {
            let (keys, expires) = (database.keys, database.expires);
            // Nothing here samples times to live: the mean is not known, for which Redis says 0.
            (format!("db{}", database.number), format!("keys={keys},expires={expires},avg_ttl=0"))
        })
        .collect()
}

pub(super) fn levels(snapshot: &Snapshot<'_>) -> Lines {
    let levels = snapshot.status.lsm.levels.iter().enumerate();
    levels
        .map(|(at, level)| {
            (format!("lsm_level{at}"), format!("tables={},bytes={}", level.tables, level.bytes))
        })
        .collect()
}
