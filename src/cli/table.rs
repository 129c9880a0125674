//! Rows of text as a table.

use std::fmt::Write;

/// The rows under their headings, each column as wide as it has to be; columns in which nothing stands are left out.
pub(super) fn print<const N: usize>(headings: &[&str; N], rows: &[[String; N]]) -> String {
    let shown: Vec<usize> = (0..N).filter(|&column| rows.iter().any(|row| !row[column].is_empty())).collect();
    let width = |column: usize| {
        let widest = rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        widest.max(headings[column].len())
    };
    let mut text = String::new();
    let mut line = |cells: &dyn Fn(usize) -> String| {
        let mut line = String::new();
        for &column in &shown {
            let _ = write!(line, "{:<width$}  ", cells(column), width = width(column));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    };
    line(&|column| headings[column].to_owned());
    for row in rows {
        line(&|column| row[column].clone());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_have_to_be() {
        let rows = [["1", "long", "", "x"], ["22", "", "", "y"]].map(|row| row.map(str::to_owned));
        let printed = print(&["id", "name", "none", "last"], &rows);
        assert_eq!(printed, "id  name  last\n1   long  x\n22        y\n");
    }
}
