//! Micro-benchmarks, one module per question.

mod log;
mod lsm;
mod resp;

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    if args.next().as_deref() == Some("lsm") {
        let records = args.next().and_then(|records| records.parse().ok());
        let standard = lsm::Workload::default();
        lsm::run(&lsm::Workload { records: records.unwrap_or(standard.records), ..standard });
    } else {
        divan::main();
    }
}
