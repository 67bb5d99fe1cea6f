//! The overview as plain text, for a terminal.

use super::Live;

/// Rows of a table, the first of which is its head.
type Rows = Vec<Vec<String>>;

impl Live {
    /// In lines; the most important ones first.
    pub(crate) fn text(&self) -> String {
        let now = &self.now;
        let mut text = format!(
            "requests/s {} (last minute {}, peak {})   errors/s {} (last minute {})\n\
             connections {} (accepted/s {})   p99 {}, {}\n",
            now.requests,
            now.requests_minute,
            now.peak,
            now.errors,
            now.errors_minute,
            now.conns,
            now.accepted,
            now.p99,
            now.times_of,
        );
        let processes = self.processes.iter().map(|process| {
            let pid = process.pid.to_string();
            [process.what, &pid, &process.state, &process.age, &process.memory, &process.cpu]
                .map(str::to_owned)
                .to_vec()
        });
        text += &table(["process", "pid", "state", "age", "memory", "cpu"], processes);
        text += &format!("{}\n", self.restarts);
        text.extend(self.last_end.iter().map(|end| format!("{end}\n")));
        text.extend(self.load.iter().map(|load| format!("{}\n", load.text)));
        let stages = self.stages.iter().map(|stage| {
            let (id, pid) = (stage.id.to_string(), stage.pid.to_string());
            vec![id, pid, stage.state.clone(), stage.age.clone(), stage.conns.clone()]
        });
        text += &table(["stage", "pid", "state", "age", "connections"], stages);
        let servers = self.servers.iter().map(|server| {
            [&server.name, &server.address, &server.conns, &server.requests, &server.errors]
                .map(String::clone)
                .to_vec()
        });
        text += &table(["server", "address", "connections", "requests", "errors"], servers);
        let rules = self.rules.iter().map(|rule| {
            let [p50, p90, p99] = &rule.times;
            let name = format!("{} {}", rule.webapp, rule.rule);
            [&name, &rule.requests, &rule.errors, p50, p90, p99].map(String::clone).to_vec()
        });
        text += &table(["webapp and rule", "requests", "errors", "p50", "p90", "p99"], rules);
        for of in &self.tables {
            text += &table(of.head.iter().copied(), of.rows.iter().cloned());
        }
        for line in &self.lines {
            text += &format!("\n{} {}: {}", line.at, line.tag, line.text);
        }
        text
    }
}

/// A table, with an empty line before it: the first column to the left, the others to the right. Nothing
/// without rows.
fn table<'a>(
    head: impl IntoIterator<Item = &'a str>,
    rows: impl Iterator<Item = Vec<String>>,
) -> String {
    let head = head.into_iter().map(str::to_owned).collect();
    let rows: Rows = std::iter::once(head).chain(rows).collect();
    if rows.len() == 1 {
        return String::new();
    }
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column| {
        let cells = rows.iter().filter_map(|row| row.get::<usize>(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = "\n".to_owned();
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            line += &match column {
                0 => format!("{cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_columns() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [row(["main", "1,234", ""]), row(["é", "–", "12"])];
        let expected = "\nname      n   m\nmain  1,234\né         –  12\n";
        assert_eq!(table(["name", "n", "m"], rows.into_iter()), expected);
        assert_eq!(table(["name"], std::iter::empty()), "");
    }
}
