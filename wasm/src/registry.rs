//! Small numbers for things that have larger names.

use std::collections::HashMap;
use std::hash::Hash;

use crate::failure::Failure;

/// Gives things numbers, lowest free number first, and finds them both ways.
#[derive(Debug)]
pub(crate) struct Registry<T> {
    what: &'static str,
    things: Vec<Option<T>>,
    free: Vec<u32>,
    numbers: HashMap<T, u32>,
}

impl<T: Copy + Eq + Hash> Registry<T> {
    /// An empty registry of things called `what` in error messages.
    pub(crate) fn new(what: &'static str) -> Self {
        Registry { what, things: Vec::new(), free: Vec::new(), numbers: HashMap::new() }
    }

    /// Gives a thing a number.
    pub(crate) fn insert(&mut self, thing: T) -> u32 {
        let number = match self.free.pop() {
            Some(number) => {
                self.things[number as usize] = Some(thing);
                number
            }
            None => {
                self.things.push(Some(thing));
                (self.things.len() - 1) as u32
            }
        };
        self.numbers.insert(thing, number);
        number
    }

    /// The thing with this number.
    pub(crate) fn get(&self, number: u32) -> Result<T, Failure> {
        let thing = self.things.get(number as usize).copied().flatten();
        thing.ok_or_else(|| unknown(self.what, number))
    }

    /// The number of a thing.
    pub(crate) fn number(&self, thing: T) -> Option<u32> {
        self.numbers.get(&thing).copied()
    }

    /// Takes a number back.
    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let thing = self.things.get_mut(number as usize)?.take()?;
        self.numbers.remove(&thing);
        self.free.push(number);
        Some(thing)
    }

    /// All things and their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, T)> {
        (0..).zip(&self.things).filter_map(|(number, thing)| Some((number, (*thing)?)))
    }
}

#[cold]
#[inline(never)]
fn unknown(what: &str, number: u32) -> Failure {
    Failure::invalid(format_args!("there is no {what} {number}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_reused_and_found_both_ways() {
        let mut registry = Registry::new("letter");
        assert_eq!((registry.insert('a'), registry.insert('b')), (0, 1));
        assert_eq!(registry.remove(0), Some('a'));
        assert_eq!(registry.number('a'), None);
        assert!(registry.get(0).is_err());
        assert_eq!(registry.insert('c'), 0);
        assert_eq!(registry.number('c'), Some(0));
        assert_eq!(registry.iter().collect::<Vec<_>>(), [(0, 'c'), (1, 'b')]);
        assert_eq!(registry.remove(7), None);
    }
}
