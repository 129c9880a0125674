//! Pages of the documentation that are printed from tables in the source.
//!
//! After a change of a table, `UPDATE_DOCUMENTS=1 cargo test documents` writes the pages anew.

use std::fs;
use std::path::Path;

/// Compares a page with what its table prints, or writes it.
fn assert_page(path: &str, printed: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        fs::write(&path, printed).unwrap();
    }
    let page = fs::read_to_string(&path).unwrap_or_default();
    let differing = page.lines().zip(printed.lines()).position(|(page, printed)| page != printed);
    let line = differing.unwrap_or_else(|| page.lines().count().min(printed.lines().count())) + 1;
    assert!(
        page == printed,
        "{}:{line} is not what the table prints; UPDATE_DOCUMENTS=1 cargo test documents writes it anew",
        path.display()
    );
}

#[test]
fn the_page_of_directives_is_their_table() {
    assert_page("docs/configuration.md", &sisyphusdb::config::markdown());
}

#[test]
fn the_page_of_metrics_is_their_tables() {
    assert_page("docs/metrics.md", &sisyphusdb::metrics::markdown());
}
