//! Text tables: columns as wide as their widest cell, words to the left, numbers to the right.

use protocols::printable::{Printable, cut};

/// The most characters of a cell. Of a longer one, both ends are shown.
const WIDEST: usize = 100;

/// Rows under a heading.
pub(crate) struct Table {
    words: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table whose first `words` columns are aligned to the left, all others to the right.
    pub(crate) fn new(words: usize, heading: &[&str]) -> Self {
        let mut table = Self { words, rows: Vec::new() };
        table.row(heading.iter().map(|cell| (*cell).to_owned()).collect());
        table
    }

    /// Adds a row. Cells may come from outside: a row is one line, whatever they hold.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.into_iter().map(|text| cell(&text)).collect());
    }
}

/// A text as it fits into a table.
pub(crate) fn cell(text: &str) -> String {
    cut(&Printable(cut(text, WIDEST)).to_string(), WIDEST).into_owned()
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let mut widths = vec![0; columns];
        for row in &self.rows {
            for (at, cell) in row.iter().enumerate() {
                widths[at] = cell.chars().count().max(widths[at]);
            }
        }
        for row in &self.rows {
            let mut line = String::new();
            for (at, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                let cell = if at < self.words {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                };
                line.push_str(if at == 0 { "" } else { "  " });
                line.push_str(&cell);
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_of_any_length_and_content_is_part_of_one_short_line() {
        let mut table = Table::new(1, &["step", "bytes"]);
        table.row(vec!["a".repeat(1 << 16) + "end", "1".into()]);
        table.row(vec!["x\u{1b}[2J\nverified: equal".into(), "22".into()]);
        let text = table.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].starts_with("aaa") && lines[1].ends_with("aend      1"), "{}", lines[1]);
        assert_eq!(lines[1].chars().count(), WIDEST + 2 + "bytes".len());
        assert!(lines[2].starts_with("x\\u{1b}[2J\\u{a}verified: equal "), "{}", lines[2]);
    }
}
