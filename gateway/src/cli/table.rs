//! How are rows shown to people? Columns as wide as their widest cell, two spaces apart.

/// The lines of a table; a number is set to the right, the last column is as long as it likes.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
        longest.max(head[column].chars().count())
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let is_number = |column: usize| {
        let mut cells = rows.iter().filter_map(|row| row.get(column)).peekable();
        cells.peek().is_some() && cells.all(|cell| cell.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let numbers: Vec<bool> = (0..head.len()).map(is_number).collect();
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (column, cell) in cells.enumerate() {
            let width = widths[column];
            if numbers[column] {
                line.push_str(&format!("{cell:>width$}  "));
            } else {
                line.push_str(&format!("{cell:<width$}  "));
            }
        }
        line.trim_end().to_owned() + "\n"
    };
    let mut out = line(&mut head.iter().copied());
    for row in rows {
        out.push_str(&line(&mut row.iter().map(String::as_str).take(head.len())));
    }
    out
}

/// A time in at most two units: `42s`, `5m 3s`, `3d 4h`.
pub fn age(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let first = UNITS.iter().position(|(unit, _)| seconds >= *unit);
    let Some(first) = first else {
        return "0s".to_owned();
    };
    let (unit, name) = UNITS[first];
    let rest = seconds % unit;
    match UNITS.get(first + 1) {
        Some((smaller, word)) if rest / smaller > 0 => {
            format!("{}{name} {}{word}", seconds / unit, rest / smaller)
        }
        _ => format!("{}{name}", seconds / unit),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows =
            [["a", "10", "x y"], ["long", "9", ""]].map(|row| row.map(str::to_owned).to_vec());
        let expected = "NAME   N  WHY\na     10  x y\nlong   9\n";
        assert_eq!(table(&["NAME", "N", "WHY"], &rows), expected);
        assert_eq!(table(&["NAME"], &[]), "NAME\n");
    }

    #[test]
    fn ages_have_two_units_at_most() {
        for (seconds, told) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (303, "5m 3s"),
            (3_600, "1h"),
            (7_325, "2h 2m"),
            (273_600, "3d 4h"),
            (86_401, "1d"),
        ] {
            assert_eq!(age(seconds), told);
        }
    }
}
