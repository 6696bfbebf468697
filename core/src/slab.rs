//! A table of entries with stable indexes and generations: a handle to a removed entry never finds its successor.

use crate::storage::Storage;

const NONE: u32 = u32::MAX;

/// Index and generation of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// One place in a slab's memory.
#[derive(Clone, Debug)]
pub struct Slot<T> {
    generation: u32,
    next_free: u32,
    value: Option<T>,
}

impl<T> Slot<T> {
    /// A place that holds nothing, for memory that the caller lends.
    pub const EMPTY: Self = Slot { generation: 0, next_free: NONE, value: None };
}

/// A bounded slab; free entries are reused last in, first out.
#[derive(Debug)]
#[cfg_attr(feature = "alloc", derive(Clone))]
pub(crate) struct Slab<'m, T> {
    slots: Storage<'m, Slot<T>>,
    limit: usize,
    free: u32,
    len: usize,
}

impl<'m, T> Slab<'m, T> {
    /// A slab of at most `limit` entries; the storage may have room for more.
    pub(crate) fn new(slots: Storage<'m, Slot<T>>, limit: usize) -> Self {
        Slab { limit: limit.min(slots.capacity()), slots, free: NONE, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn capacity(&self) -> usize {
        self.limit
    }

    pub(crate) fn is_full(&self) -> bool {
        self.len == self.capacity()
    }

    /// Stores `value`, or gives it back if the slab is full.
    pub(crate) fn insert(&mut self, value: T) -> Result<Key, T> {
        match self.vacant() {
            Some(index) => Ok(self.fill(index, value).0),
            None => Err(value),
        }
    }

    /// Stores what `make` returns, which is made where it stays; None if the slab is full.
    #[inline]
    pub(crate) fn insert_with(&mut self, make: impl FnOnce() -> T) -> Option<(Key, &mut T)> {
        let index = self.vacant()?;
        Some(self.fill(index, make()))
    }

    /// A place that holds nothing.
    fn vacant(&mut self) -> Option<u32> {
        match self.free {
            // A place that was never used, if there is one.
            NONE if self.slots.len() == self.limit || self.slots.push(Slot::EMPTY).is_err() => None,
            NONE => Some(self.slots.len() as u32 - 1),
            free => Some(free),
        }
    }

    #[inline]
    fn fill(&mut self, index: u32, value: T) -> (Key, &mut T) {
        let slot = &mut self.slots[index as usize];
        self.free = slot.next_free;
        self.len += 1;
        (Key { index, generation: slot.generation }, slot.value.insert(value))
    }

    /// Removes the entry at `index`, if there is one.
    pub(crate) fn remove(&mut self, index: u32) {
        let Some(slot) = self.slots.entry_mut(index) else { return };
        if slot.value.is_none() {
            return;
        }
        slot.value = None;
        slot.generation = slot.generation.wrapping_add(1);
        slot.next_free = self.free;
        self.free = index;
        self.len -= 1;
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        self.slots.entry(index)?.value.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        self.slots.entry_mut(index)?.value.as_mut()
    }

    /// The entry of a handle, unless it was removed since.
    #[inline]
    pub(crate) fn lookup(&self, key: Key) -> Option<&T> {
        let slot = self.slots.entry(key.index)?;
        if slot.generation == key.generation { slot.value.as_ref() } else { None }
    }

    /// The entry of a handle, unless it was removed since.
    #[inline]
    pub(crate) fn lookup_mut(&mut self, key: Key) -> Option<&mut T> {
        let slot = self.slots.entry_mut(key.index)?;
        if slot.generation == key.generation { slot.value.as_mut() } else { None }
    }

    /// The handle of a live entry.
    pub(crate) fn key(&self, index: u32) -> Option<Key> {
        let slot = self.slots.entry(index)?;
        slot.value.as_ref()?;
        Some(Key { index, generation: slot.generation })
    }

    /// All entries with their indexes; for listings, never on the way of a packet.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| Some((index as u32, slot.value.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_handle_does_not_find_the_successor() {
        let mut memory = [const { Slot::EMPTY }; 2];
        let mut slab = Slab::new(Storage::borrowed(&mut memory), 1);
        let first = slab.insert("a").unwrap();
        assert_eq!(slab.insert("b"), Err("b"));
        slab.remove(first.index);
        let second = slab.insert("c").unwrap();
        assert_eq!(first.index, second.index);
        assert_eq!(slab.lookup(first), None);
        assert_eq!(slab.lookup(second), Some(&"c"));
    }
}
