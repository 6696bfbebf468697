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
pub enum Storage<'m, T> {
    /// Allocated once, by [`Storage::with_capacity`]; the vector never reallocates.
    #[cfg(feature = "alloc")]
    Owned(Vec<T>),
    /// Lent by the caller: the slice, and how much of it is in use.
    Borrowed(&'m mut [T], usize),
}

impl<'m, T> Storage<'m, T> {
    /// Storage for `capacity` entries, allocated now.
    #[cfg(feature = "alloc")]
    pub fn with_capacity(capacity: usize) -> Self {
        Storage::Owned(Vec::with_capacity(capacity))
    }

    /// Storage in a slice of the caller's; its present contents are overwritten as it fills.
    pub fn borrowed(slice: &'m mut [T]) -> Self {
        Storage::Borrowed(slice, 0)
    }

    /// How many entries fit.
    pub fn capacity(&self) -> usize {
        match self {
            #[cfg(feature = "alloc")]
            Storage::Owned(entries) => entries.capacity(),
            Storage::Borrowed(slice, _) => slice.len(),
        }
    }

    /// Appends `value`; gives it back if the storage is full.
    pub fn push(&mut self, value: T) -> Result<(), T> {
        match self {
            #[cfg(feature = "alloc")]
            Storage::Owned(entries) if entries.len() < entries.capacity() => entries.push(value),
            #[cfg(feature = "alloc")]
            Storage::Owned(_) => return Err(value),
            Storage::Borrowed(slice, used) => match slice.get_mut(*used) {
                Some(entry) => {
                    *entry = value;
                    *used += 1;
                }
                None => return Err(value),
            },
        }
        Ok(())
    }

    /// Makes at least `len` entries accessible, new ones set to `value`; at most the capacity.
    pub fn grow_to(&mut self, len: usize, value: T)
    where
        T: Clone,
    {
        let len = len.min(self.capacity());
        match self {
            #[cfg(feature = "alloc")]
            Storage::Owned(entries) => {
                if entries.len() < len {
                    entries.resize(len, value);
                }
            }
            Storage::Borrowed(slice, used) => {
                if *used < len {
                    slice[*used..len].fill(value);
                    *used = len;
                }
            }
        }
    }

    /// Forgets the entries from `len` on.
    pub fn truncate(&mut self, len: usize) {
        match self {
            #[cfg(feature = "alloc")]
            Storage::Owned(entries) => entries.truncate(len),
            Storage::Borrowed(_, used) => *used = (*used).min(len),
        }
    }
}

/// A clone owns its memory, has the same capacity and copies the touched entries only.
#[cfg(feature = "alloc")]
impl<T: Clone> Clone for Storage<'_, T> {
    fn clone(&self) -> Self {
        let mut entries = Vec::with_capacity(self.capacity());
        entries.extend_from_slice(self);
        Storage::Owned(entries)
    }
}

impl<T> Deref for Storage<'_, T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            #[cfg(feature = "alloc")]
            Storage::Owned(entries) => entries,
            Storage::Borrowed(slice, used) => &slice[..*used],
        }
    }
}

impl<T> DerefMut for Storage<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            #[cfg(feature = "alloc")]
            Storage::Owned(entries) => entries,
            Storage::Borrowed(slice, used) => &mut slice[..*used],
        }
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
