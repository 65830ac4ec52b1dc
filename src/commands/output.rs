//! What commands print.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Prints a line. A reader that has seen enough (`fleet openapi | head`) is no trouble: what else would be
/// printed is for nobody, and the work goes on.
///
/// # Errors
/// Standard output cannot be written to, for another reason.
pub fn print(line: impl Display) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match writeln!(output, "{line}").and_then(|()| output.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}
