//! Categories (tariffs) as bits.

/// Most categories that are told apart.
pub(super) const MOST: usize = 62;

/// Some categories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CategorySet(u64);

impl CategorySet {
    pub(super) fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) fn bits(self) -> u64 {
        self.0
    }

    /// Whether the two have one in common.
    #[must_use]
    pub fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn add(&mut self, place: usize) {
        self.0 |= 1 << place;
    }
}

/// The names of the bits.
#[derive(Default)]
pub(super) struct CategoryNames {
    names: Vec<Box<str>>,
    /// Whether there were more than have room.
    overflowed: bool,
}

impl CategoryNames {
    pub(super) fn names(&self) -> &[Box<str>] {
        &self.names
    }

    pub(super) fn overflowed(&self) -> bool {
        self.overflowed
    }

    /// The set of these categories. A new name gets the next bit; when there is none left it is in no
    /// set, so those that are asked for have to come first.
    pub(super) fn set<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> CategorySet {
        let mut set = CategorySet::default();
        for name in names {
            match self.names.iter().position(|known| &**known == name) {
                Some(place) => set.add(place),
                None if self.names.len() < MOST => {
                    set.add(self.names.len());
                    self.names.push(name.into());
                }
                None => self.overflow(name),
            }
        }
        set
    }

    pub(super) fn note_overflow(&mut self) {
        self.overflowed = true;
    }

    fn overflow(&mut self, name: &str) {
        if !self.overflowed {
            tracing::warn!(name, most = MOST, "more categories than are told apart; it is ignored");
        }
        self.overflowed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_meet_in_a_common_category() {
        let mut names = CategoryNames::default();
        let wanted = names.set(["econom", "comfort"]);
        assert!(wanted.meets(names.set(["vip", "comfort"])));
        assert!(!wanted.meets(names.set(["vip", "cargo"])));
        assert!(!wanted.meets(CategorySet::default()));
    }

    #[test]
    fn what_has_no_room_is_in_no_set() {
        let mut names = CategoryNames::default();
        let all: Vec<String> = (0..MOST + 10).map(|n| format!("category-{n}")).collect();
        let set = names.set(all.iter().map(String::as_str));
        assert_eq!(set.bits(), (1 << MOST) - 1);
        assert!(names.overflowed());
        assert!(!set.meets(names.set(["category-62"])));
        assert!(set.meets(names.set(["category-61"])));
    }
}
