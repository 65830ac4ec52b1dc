//! A span's fields as one JSON object, kept as text until a log line needs them.
//!
//! tracing-subscriber's own `JsonFields` reads and writes the whole object again for each field
//! that is recorded later. Every request has such fields and hardly any writes a line, so here
//! they are joined on.

use std::fmt::{self, Debug, Write};
use std::io;

use serde::Serialize;
use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormattedFields;
use tracing_subscriber::fmt::format::{FormatFields, Writer};

/// See the module's documentation.
pub(super) struct SpanFields;

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: RecordFields>(&self, mut out: Writer<'writer>, fields: R) -> fmt::Result {
        out.write_char('{')?;
        write_members(&mut out, fields, true)?;
        out.write_char('}')
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        let text = &mut current.fields;
        if text.pop() != Some('}') {
            text.push('{');
        }
        let first = text.len() == 1;
        write_members(text, fields, first)?;
        text.write_char('}')
    }
}

fn write_members(out: &mut dyn Write, fields: impl RecordFields, first: bool) -> fmt::Result {
    let mut members = Members { out, first, outcome: Ok(()) };
    fields.record(&mut members);
    members.outcome
}

struct Members<'a> {
    out: &'a mut dyn Write,
    first: bool,
    outcome: fmt::Result,
}

impl Members<'_> {
    fn add(&mut self, field: &Field, value: &(impl Serialize + ?Sized)) {
        self.outcome = self.outcome.and_then(|()| {
            let separator = if std::mem::take(&mut self.first) { "\"" } else { ",\"" };
            // A field's name is an identifier of ours, with dots perhaps: nothing in it to escape.
            for text in [separator, field.name(), "\":"] {
                self.out.write_str(text)?;
            }
            serde_json::to_writer(Bytes(self.out), value).map_err(|_| fmt::Error)
        });
    }
}

/// Lets JSON be written where text goes, without a copy in between.
struct Bytes<'a>(&'a mut dyn Write);

impl io::Write for Bytes<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // JSON is written in pieces that begin and end between characters.
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_str(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Visit for Members<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, &value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, &value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn span_in_line(make: impl FnOnce()) -> serde_json::Value {
        let lines = Lines::default();
        let out = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .fmt_fields(SpanFields)
            .with_writer(move || out.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, make);
        let line = lines.0.lock().unwrap();
        serde_json::from_slice::<serde_json::Value>(&line).unwrap()["span"].take()
    }

    #[test]
    fn fields_of_all_times_are_in_the_line() {
        let span = span_in_line(|| {
            let span = tracing::info_span!(
                "request",
                route = "/a\"bé",
                size = 7,
                share = 0.5,
                who = tracing::field::Empty,
                status = tracing::field::Empty
            );
            span.record("who", tracing::field::debug("x\ny"));
            span.record("status", 200_u16);
            span.in_scope(|| tracing::info!("said"));
        });
        let expected = serde_json::json!({
            "name": "request", "route": "/a\"bé", "size": 7, "share": 0.5, "who": "\"x\\ny\"", "status": 200
        });
        assert_eq!(span, expected);
    }

    #[test]
    fn a_span_may_begin_without_fields() {
        let span = span_in_line(|| {
            let span = tracing::info_span!("request", late = tracing::field::Empty);
            span.record("late", true);
            span.in_scope(|| tracing::info!("said"));
        });
        assert_eq!(span, serde_json::json!({ "name": "request", "late": true }));
    }
}
