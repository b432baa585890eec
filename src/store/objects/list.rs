//! List.

/// List.
#[derive(Clone, Debug, Default)]
pub struct List {
    len: usize,
}

impl List {
    /// Elements held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Heap bytes held.
    pub fn heap_bytes(&self) -> usize {
        0
    }
}
