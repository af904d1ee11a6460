//! The driver's messages: made from seed and number alone, so that stored bytes can be compared without keeping any.

/// The header that names a message in a store.
const KEY: &str = "X-Message-Key: ";

/// What messages are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    pub(crate) seed: u64,
    pub(crate) bytes: usize,
}

/// Messages with a number of at least this are the probe's, and small.
pub(crate) const PROBES: u64 = 1 << 48;
const PROBE_BYTES: usize = 256;
const LINE: usize = 74;

impl Recipe {
    /// The message as the store must hold it: lines ended by CRLF.
    pub(crate) fn message(&self, number: u64) -> Vec<u8> {
        let size = if number >= PROBES { PROBE_BYTES } else { self.bytes };
        let head = format!(
            "From: <driver@client.example>\r\nTo: <box@service.example>\r\nSubject: number {number}\r\n{KEY}{:016x}-{number}\r\n\r\n",
            self.seed
        );
        let mut text = head.into_bytes();
        text.reserve(size + LINE);
        let mut state = (self.seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1;
        while text.len() < size {
            let start = text.len();
            while text.len() - start < LINE {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                // Printable, dots included: some lines begin with one.
                text.push(b'!' + u8::try_from(state % 94).unwrap_or(0));
            }
            if state.is_multiple_of(5) {
                text[start] = b'.';
            }
            text.extend_from_slice(b"\r\n");
        }
        text
    }

    /// The same as it goes over the wire after `DATA`, the final dot included.
    pub(crate) fn on_the_wire(&self, number: u64) -> Vec<u8> {
        let message = self.message(number);
        let mut wire = Vec::with_capacity(message.len() + 64);
        for line in message.split_inclusive(|b| *b == b'\n') {
            if line.starts_with(b".") {
                wire.push(b'.');
            }
            wire.extend_from_slice(line);
        }
        wire.extend_from_slice(b".\r\n");
        wire
    }

    /// The number that a stored file names, if it is one of this run's messages.
    pub(crate) fn number_of(&self, stored: &[u8]) -> Option<u64> {
        let head = String::from_utf8_lossy(stored.get(..stored.len().min(4096))?);
        let key = head.lines().find_map(|line| line.strip_prefix(KEY))?;
        let (seed, number) = key.split_once('-')?;
        (u64::from_str_radix(seed, 16) == Ok(self.seed)).then(|| number.parse().ok())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_made_again_from_its_number_and_found_by_it() {
        let recipe = Recipe { seed: 7, bytes: 4096 };
        let message = recipe.message(12);
        assert_eq!(message, recipe.message(12));
        assert_ne!(message, recipe.message(13));
        assert!((4096..4096 + 2 * LINE).contains(&message.len()));
        assert_eq!(recipe.number_of(&message), Some(12));
        assert_eq!(Recipe { seed: 8, ..recipe }.number_of(&message), None);
        assert!(recipe.message(PROBES + 1).len() < 512);
    }

    #[test]
    fn dots_are_stuffed_and_the_last_line_is_a_dot() {
        let recipe = Recipe { seed: 7, bytes: 8192 };
        let wire = String::from_utf8(recipe.on_the_wire(3)).unwrap();
        assert!(wire.ends_with("\r\n.\r\n"));
        assert!(wire.contains("\r\n.."));
        assert!(!wire.trim_end_matches("\r\n.\r\n").contains("\r\n.\r\n"));
    }
}
