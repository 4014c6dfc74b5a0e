//! Tables for a terminal.

/// A table: the first column to the left, the others to the right, as wide as they need.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_string()).collect();
    let columns = head.len();
    let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
    let width = |column| {
        let of = |row: &[String]| cell(row, column).chars().count();
        rows.iter().map(|row| of(row)).fold(of(&head), usize::max)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in std::iter::once(&head[..]).chain(rows.iter().map(|row| &row[..])) {
        let cells = widths.iter().enumerate().map(|(column, &width)| match column {
            0 => format!("{:<width$}", cell(row, 0)),
            _ => format!("  {:>width$}", cell(row, column)),
        });
        text += cells.collect::<String>().trim_end();
        text.push('\n');
    }
    text
}

/// A number of which three digits matter.
pub(crate) fn three_digits(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".to_string(), "1".to_string()], vec!["long".to_string()]];
        assert_eq!(table(&["", "number"], &rows), "      number\na          1\nlong\n");
    }

    #[test]
    fn numbers_keep_three_digits() {
        let texts = [0.1234, 9.999, 12.345, 99.96, 1234.5].map(three_digits);
        assert_eq!(texts, ["0.12", "10.0", "12.3", "100", "1234"]);
    }
}
