//! The bytes of a modelled file: sparse pages that copies share.

use std::collections::BTreeMap;
use std::sync::Arc;

const PAGE_BYTES: usize = 4096;

#[derive(Clone, Default)]
pub(super) struct Content {
    len: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE_BYTES]>>,
}

impl Content {
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let wanted = (buf.len() as u64).min(self.len.saturating_sub(offset)) as usize;
        for (at, page, within, part) in pieces(offset, wanted) {
            let Some(target) = buf.get_mut(at..at + part) else { break };
            match self.pages.get(&page).and_then(|bytes| bytes.get(within..within + part)) {
                Some(bytes) => target.copy_from_slice(bytes),
                None => target.fill(0),
            }
        }
        wanted
    }

    /// Puts bytes without changing the length: beyond it they show only after it grew over them.
    pub(super) fn put(&mut self, bytes: &[u8], offset: u64) {
        for (at, page, within, part) in pieces(offset, bytes.len()) {
            let page = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE_BYTES]));
            let target = Arc::make_mut(page).get_mut(within..within + part);
            if let (Some(target), Some(source)) = (target, bytes.get(at..at + part)) {
                target.copy_from_slice(source);
            }
        }
    }

    pub(super) fn grow(&mut self, len: u64) {
        self.len = self.len.max(len);
    }

    /// Shortens to at most `len`, and forgets what lies beyond the end.
    pub(super) fn cut(&mut self, len: u64) {
        self.len = self.len.min(len);
        let page = self.len / PAGE_BYTES as u64;
        let keep = (self.len % PAGE_BYTES as u64) as usize;
        self.pages.split_off(&(page + u64::from(keep > 0)));
        if let Some(tail) = self.pages.get_mut(&page).filter(|_| keep > 0)
            && tail.iter().skip(keep).any(|&byte| byte != 0)
        {
            Arc::make_mut(tail).iter_mut().skip(keep).for_each(|byte| *byte = 0);
        }
    }
}

/// (place in the caller's bytes, page, place in the page, length) of each page touched.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (usize, u64, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = (at % PAGE_BYTES as u64) as usize;
        let part = (PAGE_BYTES - within).min(len - done);
        let piece = (done, at / PAGE_BYTES as u64, within, part);
        done += part;
        (part > 0).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_across_pages_are_read_back_and_a_cut_forgets_them() {
        let mut content = Content::default();
        let bytes: Vec<u8> = (0..9000u32).map(|i| (i % 251) as u8 + 1).collect();
        content.put(&bytes, 100);
        content.grow(9100);
        let mut read = vec![7; 9200];
        assert_eq!(content.read(&mut read, 0), 9100);
        assert_eq!(&read[..100], &[0; 100]);
        assert_eq!(&read[100..9100], &bytes[..]);
        content.cut(200);
        content.grow(9100);
        assert_eq!(content.read(&mut read, 0), 9100);
        assert_eq!(&read[100..200], &bytes[..100]);
        assert!(read[200..9100].iter().all(|&b| b == 0));
    }
}
