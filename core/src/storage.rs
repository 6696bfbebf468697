//! Memory that is given once, at construction, and never grows.
//!
//! A [`Storage`] has a fixed capacity and a high-water mark: entries past the mark have never been
//! touched, so that a large limit costs address space and not memory. With the `alloc` feature one
//! allocation makes it; without, the caller lends a slice.

#[cfg(feature = "alloc")]
use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

/// A fixed-capacity array with a high-water mark, owned or borrowed. Dereferences to the touched entries.
#[derive(Debug)]
pub struct Storage<'m, T> {
    memory: Memory<'m, T>,
    /// How many entries are in use: all of a vector, so many of a lent slice.
    used: usize,
}

/// Both kinds keep pointer and length in the same places, and the use of neither can fail: reading takes no branch.
#[derive(Debug)]
enum Memory<'m, T> {
    /// Allocated once; the vector never reallocates.
    #[cfg(feature = "alloc")]
    Owned(Vec<T>),
    /// Lent by the caller.
    Borrowed(&'m mut [T]),
}

impl<'m, T> Storage<'m, T> {
    /// Storage for `capacity` entries, allocated now.
    #[cfg(feature = "alloc")]
    pub fn with_capacity(capacity: usize) -> Self {
        Storage { memory: Memory::Owned(Vec::with_capacity(capacity)), used: 0 }
    }

    /// Storage in a slice of the caller's; its present contents are overwritten as it fills.
    pub fn borrowed(slice: &'m mut [T]) -> Self {
        Storage { memory: Memory::Borrowed(slice), used: 0 }
    }

    /// How many entries fit.
    pub fn capacity(&self) -> usize {
        match &self.memory {
            #[cfg(feature = "alloc")]
            Memory::Owned(entries) => entries.capacity(),
            Memory::Borrowed(slice) => slice.len(),
        }
    }

    /// Appends `value`; gives it back if the storage is full.
    pub fn push(&mut self, value: T) -> Result<(), T> {
        match &mut self.memory {
            #[cfg(feature = "alloc")]
            Memory::Owned(entries) if entries.len() < entries.capacity() => entries.push(value),
            #[cfg(feature = "alloc")]
            Memory::Owned(_) => return Err(value),
            Memory::Borrowed(slice) => match slice.get_mut(self.used) {
                Some(entry) => *entry = value,
                None => return Err(value),
            },
        }
        self.used += 1;
        Ok(())
    }

    /// An array of `len` entries that are all `value`; of fewer if there is no room for so many.
    pub(crate) fn filled(mut self, len: usize, value: T) -> Array<'m, T>
    where
        T: Clone,
    {
        self.grow_to(len, value);
        let memory = match self.memory {
            #[cfg(feature = "alloc")]
            Memory::Owned(entries) => Memory::Owned(entries),
            Memory::Borrowed(slice) => Memory::Borrowed(&mut slice[..self.used]),
        };
        Array { memory }
    }

    /// Makes at least `len` entries accessible, new ones set to `value`; at most the capacity.
    #[inline(never)] // A table grows when it is made; a pool, by a block that was never used.
    pub fn grow_to(&mut self, len: usize, value: T)
    where
        T: Clone,
    {
        let len = len.min(self.capacity());
        if len <= self.used {
            return;
        }
        match &mut self.memory {
            #[cfg(feature = "alloc")]
            Memory::Owned(entries) => entries.resize(len, value),
            Memory::Borrowed(slice) => slice[self.used..len].fill(value),
        }
        self.used = len;
    }

    /// The entry at `place`: as through [`Deref`], but with one comparison less, since places past the high-water mark of lent memory
    /// are not told from others. For tables of which every place up to the mark, and none behind it, is ever asked for.
    #[inline]
    pub(crate) fn entry(&self, place: u32) -> Option<&T> {
        self.memory.get(place as usize)
    }

    /// The same, to change it.
    #[inline]
    pub(crate) fn entry_mut(&mut self, place: u32) -> Option<&mut T> {
        self.memory.get_mut(place as usize)
    }

    /// Forgets the entries from `len` on.
    pub fn truncate(&mut self, len: usize) {
        #[cfg(feature = "alloc")]
        if let Memory::Owned(entries) = &mut self.memory {
            entries.truncate(len);
        }
        self.used = self.used.min(len);
    }
}

/// A clone owns its memory, has the same capacity and copies the touched entries only.
#[cfg(feature = "alloc")]
impl<T: Clone> Clone for Storage<'_, T> {
    fn clone(&self) -> Self {
        let mut entries = Vec::with_capacity(self.capacity());
        entries.extend_from_slice(self);
        Storage { memory: Memory::Owned(entries), used: self.used }
    }
}

impl<T> Deref for Memory<'_, T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            #[cfg(feature = "alloc")]
            Memory::Owned(entries) => entries.as_slice(),
            Memory::Borrowed(slice) => slice,
        }
    }
}

impl<T> DerefMut for Memory<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            #[cfg(feature = "alloc")]
            Memory::Owned(entries) => entries.as_mut_slice(),
            Memory::Borrowed(slice) => slice,
        }
    }
}

impl<T> Deref for Storage<'_, T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        &self.memory[..self.memory.len().min(self.used)]
    }
}

impl<T> DerefMut for Storage<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        let len = self.memory.len().min(self.used);
        &mut self.memory[..len]
    }
}

/// Memory of which all is in use from the beginning, owned or borrowed: reached without asking how much of it is.
#[derive(Debug)]
pub(crate) struct Array<'m, T> {
    memory: Memory<'m, T>,
}

#[cfg(feature = "alloc")]
impl<T: Clone> Clone for Array<'_, T> {
    fn clone(&self) -> Self {
        Array { memory: Memory::Owned(self.to_vec()) }
    }
}

impl<T> Deref for Array<'_, T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        &self.memory
    }
}

impl<T> DerefMut for Array<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_storage_gives_the_value_back() {
        let mut memory = [0; 2];
        let mut storage = Storage::borrowed(&mut memory);
        assert_eq!(storage.push(1), Ok(()));
        assert_eq!(storage.push(2), Ok(()));
        assert_eq!(storage.push(3), Err(3));
        assert_eq!(&*storage, &[1, 2]);
    }

    #[cfg(feature = "alloc")]
    #[test]
    fn a_clone_keeps_the_capacity_and_never_reallocates() {
        let mut storage = Storage::with_capacity(100);
        storage.grow_to(3, 7u8);
        let mut clone = storage.clone();
        assert_eq!(&*clone, &[7, 7, 7]);
        assert!(clone.capacity() >= 100);
        let before = clone.as_ptr();
        clone.grow_to(100, 1);
        assert_eq!(before, clone.as_ptr());
    }
}
