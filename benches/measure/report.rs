//! A row of the table that `make bench` prints: benches/report.py collects what is printed here.

/// What was measured; cells that do not apply stay empty.
#[derive(Default)]
pub struct Row<'a> {
    /// What it is.
    pub figure: &'a str,
    /// What the server does.
    pub server: String,
    /// What it is measured against, in the same run.
    pub limit: String,
    /// Server to limit.
    pub ratio: String,
    /// What the ratio, or the server's figure, must be.
    pub goal: &'a str,
    /// Whether it is.
    pub met: Option<bool>,
    /// CPU of server + PostgreSQL.
    pub cpu: String,
    /// p50 / p99.
    pub latency: String,
    /// Memory of the server.
    pub memory: String,
}

impl Row<'_> {
    /// Prints it.
    pub fn print(&self) {
        let met = match self.met {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        let cells = [
            self.figure,
            &self.server,
            &self.limit,
            &self.ratio,
            self.goal,
            met,
            &self.cpu,
            &self.latency,
            &self.memory,
        ];
        println!("ROW\t{}", cells.join("\t"));
    }
}
