//! The arguments of one request, borrowed from the read buffer.

use crate::sys::bulk::BulkBuf;

/// Where an argument lies: an offset into the request's buffer, or the index of a large bulk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    const LARGE: u32 = u32::MAX;
    /// Offsets up to here can be told; a request with more bytes is not read to its end.
    pub const REACH: usize = Span::LARGE as usize - 1;

    /// An argument of `len` bytes at offset `start` of the buffer.
    pub fn new(start: usize, len: usize) -> Span {
        debug_assert!(start < u32::MAX as usize);
        debug_assert!(len <= u32::MAX as usize);
        Span { start: start as u32, len: len as u32 }
    }

    /// The argument that is large bulk number `index` of its request.
    pub fn large(index: usize) -> Span {
        Span { start: Span::LARGE, len: index as u32 }
    }

    /// Bytes of an argument that lies in the buffer.
    pub fn len_in_buffer(&self) -> usize {
        self.len as usize
    }

    /// Where an argument that lies in the buffer ends.
    pub fn end_in_buffer(&self) -> usize {
        self.start as usize + self.len as usize
    }

    /// Index of the large bulk, if it is one.
    pub fn large_index(&self) -> Option<usize> {
        (self.start == Span::LARGE).then_some(self.len as usize)
    }
}

/// The arguments of one request, the command's name included as argument 0.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    buf: &'a [u8],
    spans: &'a [Span],
    large: &'a [BulkBuf],
}

impl<'a> Args<'a> {
    /// Arguments at `spans` of `buf`; `large` holds the bulks that were received apart.
    pub fn new(buf: &'a [u8], spans: &'a [Span], large: &'a [BulkBuf]) -> Args<'a> {
        Args { buf, spans, large }
    }

    /// How many arguments there are, the name included.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // a request always has a name
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Argument `index`; 0 is the command's name. Panics beyond the end: arity is checked first.
    #[inline]
    pub fn get(&self, index: usize) -> &'a [u8] {
        self.bytes_of(self.spans[index])
    }

    #[inline]
    fn bytes_of(&self, span: Span) -> &'a [u8] {
        if span.start == Span::LARGE {
            return self.large[span.len as usize].filled();
        }
        &self.buf[span.start as usize..span.start as usize + span.len as usize]
    }

    /// Argument `index`, or `None` beyond the end.
    #[inline]
    pub fn try_get(&self, index: usize) -> Option<&'a [u8]> {
        (index < self.spans.len()).then(|| self.get(index))
    }

    /// The arguments from `index` to the end.
    #[inline]
    pub fn iter_from(&self, index: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        let me = *self;
        self.spans[index.min(self.len())..].iter().map(move |span| me.bytes_of(*span))
    }

    /// No less than the bytes of all arguments together, known without a look at each of them;
    /// `None` if some were received apart.
    #[inline]
    pub fn bytes_at_most(&self) -> Option<usize> {
        // They lie in their order in the buffer.
        let last = self.spans.last().filter(|_| self.large.is_empty())?;
        Some(last.end_in_buffer())
    }

    /// The same request without its first `count` arguments (a sub-command's view).
    pub fn skip(&self, count: usize) -> Args<'a> {
        Args { spans: &self.spans[count..], ..*self }
    }

    /// Bytes of all arguments together.
    pub fn total_len(&self) -> usize {
        self.iter_from(0).map(<[u8]>::len).sum()
    }

    /// A copy that owns its bytes (a queued command of a transaction).
    pub fn to_owned(&self) -> OwnedArgs {
        let mut owned = OwnedArgs {
            buf: Vec::with_capacity(self.total_len()),
            spans: Vec::with_capacity(self.len()),
        };
        for arg in self.iter_from(0) {
            owned.push(arg);
        }
        owned
    }
}

/// Arguments that own their bytes.
#[derive(Clone, Debug, Default)]
pub struct OwnedArgs {
    buf: Vec<u8>,
    spans: Vec<Span>,
}

impl OwnedArgs {
    /// Appends one argument.
    pub fn push(&mut self, arg: &[u8]) {
        self.spans.push(Span::new(self.buf.len(), arg.len()));
        self.buf.extend_from_slice(arg);
    }

    /// Takes all arguments out; the room stays.
    pub fn clear(&mut self) {
        self.buf.clear();
        self.spans.clear();
    }

    /// The borrowed view that commands take.
    pub fn as_args(&self) -> Args<'_> {
        Args { buf: &self.buf, spans: &self.spans, large: &[] }
    }

    /// Bytes held.
    pub fn heap_bytes(&self) -> usize {
        self.buf.capacity() + self.spans.capacity() * size_of::<Span>()
    }
}

impl<'b> FromIterator<&'b [u8]> for OwnedArgs {
    fn from_iter<T: IntoIterator<Item = &'b [u8]>>(iter: T) -> OwnedArgs {
        let mut owned = OwnedArgs::default();
        for arg in iter {
            owned.push(arg);
        }
        owned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_of_one_request() {
        let owned: OwnedArgs = [&b"CONFIG"[..], b"GET", b"", b"max*"].into_iter().collect();
        let args = owned.as_args();
        assert_eq!(args.len(), 4);
        assert_eq!(args.get(1), b"GET");
        assert_eq!(args.try_get(2), Some(&b""[..]));
        assert_eq!(args.try_get(4), None);
        assert_eq!(args.total_len(), 13);
        assert_eq!(args.bytes_at_most(), Some(13));
        assert_eq!(args.iter_from(2).collect::<Vec<_>>(), [&b""[..], b"max*"]);
        assert_eq!(args.iter_from(9).count(), 0);
        assert_eq!(args.skip(3).get(0), b"max*");
        assert_eq!(args.skip(1).to_owned().as_args().get(2), b"max*");
        assert!(owned.heap_bytes() >= 13);
    }
}
