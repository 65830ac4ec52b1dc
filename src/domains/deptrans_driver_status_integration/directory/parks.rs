//! Parks by numbers: there are few of them, and each driver has one.

use std::sync::Arc;

use hashbrown::HashMap;

/// The parks that were seen. None is forgotten: their number is bounded by that of all parks.
#[derive(Default)]
pub(super) struct Parks {
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

impl Parks {
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    pub(super) fn name(&self, number: u32) -> Option<&str> {
        self.names.get(usize::try_from(number).ok()?).map(|name| &**name)
    }

    pub(super) fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The number of a park, which gets the next one if it is new.
    pub(super) fn intern(&mut self, name: &str) -> u32 {
        if let Some(number) = self.number(name) {
            return number;
        }
        let name: Arc<str> = name.into();
        let number = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        number
    }

    /// Bytes that they take, about.
    pub(super) fn bytes(&self) -> usize {
        let texts: usize = self.names.iter().map(|name| name.len() + 16).sum();
        texts + self.names.capacity() * size_of::<Arc<str>>() + self.numbers.allocation_size()
    }
}
