//! Reads one section and finds every fault in it.

use config::{Value, ValueKind};
use serde::de::DeserializeOwned;

use super::strict::{Misfit, Strict};
use super::{Fault, Faults};

/// A section of the configuration: a struct that serde fills (unknown keys refused) and that then
/// checks its own values, so that a value which exists is a valid one.
pub trait Section: DeserializeOwned {
    /// Notes every value that is out of range or contradicts another.
    fn check(&self, faults: &mut Faults);
}

/// More faults than this in one section are not a typing mistake.
const MOST_FAULTS: usize = 50;

/// Reads the section `name` from `value`. Serde reports one fault at a time; so each one found is
/// mended (with the value of `defaults` at that place, or by leaving it out) and the section is
/// read again.
pub(super) fn read<T: Section>(
    name: &str,
    mut value: Value,
    defaults: Option<&Value>,
) -> Result<T, Vec<Fault>> {
    let mut faults = Faults::below(name);
    let mut reported: Vec<String> = Vec::new();
    let mut removed = Removed::default();
    let section = loop {
        let error = match serde_path_to_error::deserialize::<_, T>(Strict(value.clone())) {
            Ok(section) => break section,
            Err(error) => error,
        };
        let key = match error.inner() {
            Misfit::UnknownKey { key, .. } => join(&parent_of_unknown(error.path(), key), key),
            _ => path_text(error.path()),
        };
        let written = removed.as_written(&key);
        let repeated = reported.contains(&written);
        // What is missing only because it was wrong, and left out, has been told.
        let left_out = matches!(error.inner(),
            Misfit::Missing(field) if reported.contains(&join(&written, field)));
        if !repeated && !left_out {
            faults.add(&written, message(error.inner()));
        }
        let mended = !repeated && mend(&mut value, &key, defaults, &mut removed);
        reported.push(written);
        if !mended || reported.len() >= MOST_FAULTS {
            return Err(faults.into_vec());
        }
    };
    let mut checked = Faults::default();
    section.check(&mut checked);
    for fault in checked.into_vec() {
        faults.add(&removed.as_written(&fault.key), fault.message);
    }
    let found = faults.into_vec();
    if found.is_empty() { Ok(section) } else { Err(found) }
}

/// Which items of which lists were left out: those behind them have other numbers than in the file.
#[derive(Default)]
struct Removed(Vec<(String, usize)>);

impl Removed {
    /// The path as it is in the file, of one as it is now.
    fn as_written(&self, path: &str) -> String {
        let mut written = String::new();
        for (nth, part) in path.split('[').enumerate() {
            let Some((index, rest)) = part.split_once(']').filter(|_| nth > 0) else {
                written.push_str(part);
                continue;
            };
            let number = index.parse().map_or_else(
                |_| index.to_owned(),
                |index| self.number(&written, index).to_string(),
            );
            written = format!("{written}[{number}]{rest}");
        }
        written
    }

    /// The number in the file of the item that is the `index`th of `list` now.
    fn number(&self, list: &str, mut index: usize) -> usize {
        let mut gone: Vec<usize> =
            self.0.iter().filter(|(path, _)| path == list).map(|(_, index)| *index).collect();
        gone.sort_unstable();
        for number in gone {
            index += usize::from(number <= index);
        }
        index
    }

    /// Notes that the item at `path`, as it is now, is left out.
    fn note(&mut self, path: &str) {
        let written = self.as_written(path);
        if let Some((list, index)) = written.trim_end_matches(']').rsplit_once('[')
            && let Ok(index) = index.parse()
        {
            self.0.push((list.to_owned(), index));
        }
    }
}

fn message(misfit: &Misfit) -> String {
    match misfit {
        Misfit::UnknownKey { key, known } => nearest("key", key, known),
        other => other.to_string(),
    }
}

/// What to say of an unknown key, or of something else that has a name (`sort`).
pub(super) fn nearest(sort: &str, field: &str, known: &[&str]) -> String {
    let closest = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(field, name), *name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 3);
    match closest {
        Some((_, name)) => format!("unknown {sort}; did you mean `{name}`?"),
        None => format!("unknown {sort}; known here: {}", known.join(", ")),
    }
}

/// serde_path_to_error ends the path of an unknown field with the field on some deserializers and
/// with its parent on others; this is the parent on both.
fn parent_of_unknown(path: &serde_path_to_error::Path, field: &str) -> String {
    let text = path_text(path);
    match text.strip_suffix(field) {
        Some("") => String::new(),
        Some(parent) if parent.ends_with('.') => parent.trim_end_matches('.').to_owned(),
        _ => text,
    }
}

fn path_text(path: &serde_path_to_error::Path) -> String {
    let text = path.to_string();
    if text == "." { String::new() } else { text }
}

fn join(parent: &str, key: &str) -> String {
    if parent.is_empty() { key.to_owned() } else { format!("{parent}.{key}") }
}

/// Puts the default, or nothing, in the place of `key`. False when there is nothing to mend.
fn mend(value: &mut Value, key: &str, defaults: Option<&Value>, removed: &mut Removed) -> bool {
    let steps: Vec<&str> = key.split(['.', '[', ']']).filter(|step| !step.is_empty()).collect();
    let Some((last, parents)) = steps.split_last() else { return false };
    let mut default = defaults;
    let mut at = value;
    for step in parents {
        default = default.and_then(|value| child(value, step));
        match child_mut(at, step) {
            Some(next) => at = next,
            None => return false,
        }
    }
    let default = default.and_then(|value| child(value, last)).cloned();
    match &mut at.kind {
        ValueKind::Table(table) => match default {
            Some(default) => table.insert((*last).to_owned(), default).is_some(),
            None => table.remove(*last).is_some(),
        },
        ValueKind::Array(items) => match last.parse::<usize>() {
            Ok(index) if index < items.len() => {
                items.remove(index);
                removed.note(key);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

fn child<'a>(value: &'a Value, step: &str) -> Option<&'a Value> {
    match &value.kind {
        ValueKind::Table(table) => table.get(step),
        ValueKind::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    }
}

fn child_mut<'a>(value: &'a mut Value, step: &str) -> Option<&'a mut Value> {
    match &mut value.kind {
        ValueKind::Table(table) => table.get_mut(step),
        ValueKind::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    }
}
