//! A short list kept in place.

use core::fmt;

/// At most `N` values, kept in place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct List<T, const N: usize> {
    /// Those that are there come first.
    values: [Option<T>; N],
}

impl<T: Copy + PartialEq, const N: usize> List<T, N> {
    /// The empty list.
    pub const EMPTY: Self = List { values: [None; N] };

    /// Appends a value; false if the list is full.
    pub fn push(&mut self, value: T) -> bool {
        match self.values.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(value),
            None => return false,
        }
        true
    }

    /// The values in their order.
    pub fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.values.iter().flatten()
    }

    /// The first value.
    pub fn first(&self) -> Option<T> {
        self.values.first().copied().flatten()
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.first().is_none()
    }

    /// Whether `value` is among them.
    pub fn contains(&self, value: &T) -> bool {
        self.values.contains(&Some(*value))
    }
}

impl<T: Copy + PartialEq, const N: usize> Default for List<T, N> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<T, const N: usize> IntoIterator for List<T, N> {
    type Item = T;
    type IntoIter = core::iter::Flatten<core::array::IntoIter<Option<T>, N>>;

    fn into_iter(self) -> Self::IntoIter {
        self.values.into_iter().flatten()
    }
}

impl<T: Copy + PartialEq, const N: usize> FromIterator<T> for List<T, N> {
    /// The first `N` of the values.
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut list = Self::EMPTY;
        for value in values.into_iter().take(N) {
            list.push(value);
        }
        list
    }
}

impl<T: Copy + PartialEq + fmt::Debug, const N: usize> fmt::Debug for List<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
