//! Frames on a line of octets: `0x00`, COBS, `0x00`.
//!
//! COBS leaves no `0x00` inside a frame, so after any noise the next delimiter is a fresh start. The delimiter
//! before a frame ends whatever noise came before it, so noise between two frames costs neither.

use ha_core::wire::SERIAL_FRAME_BYTES;

const DELIMITER: u8 = 0;
/// A frame as COBS: one octet more, as long as it has at most 254.
const MAX_CODED_BYTES: usize = SERIAL_FRAME_BYTES + 1;

/// The longest frame on the line in bytes, delimiters included.
pub const MAX_LINE_BYTES: usize = MAX_CODED_BYTES + 2;

/// The octets on the line for `frame`; `None` if it is empty or longer than [`SERIAL_FRAME_BYTES`].
#[must_use]
pub fn encode_line_frame(frame: &[u8]) -> Option<Vec<u8>> {
    if frame.is_empty() || frame.len() > SERIAL_FRAME_BYTES {
        return None;
    }
    let mut out = Vec::with_capacity(MAX_LINE_BYTES);
    out.push(DELIMITER);
    for run in frame.split(|octet| *octet == DELIMITER) {
        // Below 62: a frame is short.
        out.push(run.len() as u8 + 1);
        out.extend_from_slice(run);
    }
    out.push(DELIMITER);
    Some(out)
}

/// Finds frames in a stream of octets. Holds at most one, whatever arrives.
#[derive(Clone, Debug)]
pub struct Deframer {
    coded: Vec<u8>,
    overrun: bool,
    noise: u64,
}

impl Deframer {
    /// One that has heard nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { coded: Vec::with_capacity(MAX_CODED_BYTES), overrun: false, noise: 0 }
    }

    /// Takes one octet; gives the frame that it ends, if it ends one.
    pub fn push(&mut self, octet: u8) -> Option<Vec<u8>> {
        if octet != DELIMITER {
            if self.coded.len() < MAX_CODED_BYTES {
                self.coded.push(octet);
            } else {
                self.overrun = true;
            }
            return None;
        }
        let frame = if self.overrun { None } else { uncob(&self.coded) };
        if frame.is_none() && !self.coded.is_empty() {
            self.noise += 1;
        }
        self.coded.clear();
        self.overrun = false;
        frame.filter(|frame| !frame.is_empty())
    }

    /// Stretches between delimiters that were no frame.
    #[must_use]
    pub const fn noise(&self) -> u64 {
        self.noise
    }
}

impl Default for Deframer {
    fn default() -> Self {
        Self::new()
    }
}

fn uncob(coded: &[u8]) -> Option<Vec<u8>> {
    let mut frame = Vec::with_capacity(coded.len());
    let mut rest = coded;
    while let Some((&code, tail)) = rest.split_first() {
        let (run, after) = tail.split_at_checked(usize::from(code).checked_sub(1)?)?;
        frame.extend_from_slice(run);
        if !after.is_empty() {
            frame.push(DELIMITER);
        }
        rest = after;
    }
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(deframer: &mut Deframer, octets: &[u8]) -> Vec<Vec<u8>> {
        octets.iter().filter_map(|octet| deframer.push(*octet)).collect()
    }

    proptest! {
        #[test]
        fn frames_come_back_from_any_noise(
            sent in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=SERIAL_FRAME_BYTES), 1..6),
            noise in prop::collection::vec(1u8.., 0..200),
        ) {
            let mut deframer = Deframer::new();
            for frame in sent {
                prop_assert!(frames(&mut deframer, &noise).is_empty());
                let line = encode_line_frame(&frame).unwrap();
                prop_assert!(line.len() <= MAX_LINE_BYTES && line.len() == frame.len() + 3);
                // The noise may decode to a frame of its own, which no MAC will bear out.
                let heard = frames(&mut deframer, &line);
                prop_assert_eq!(heard.last(), Some(&frame));
            }
        }

        #[test]
        fn random_octets_stay_bounded(octets in prop::collection::vec(any::<u8>(), 0..5000)) {
            let mut deframer = Deframer::new();
            for frame in frames(&mut deframer, &octets) {
                prop_assert!(frame.len() <= SERIAL_FRAME_BYTES);
            }
            prop_assert!(deframer.coded.capacity() <= MAX_CODED_BYTES);
        }
    }

    #[test]
    fn a_frame_is_at_most_64_bytes_on_the_line() {
        assert_eq!(MAX_LINE_BYTES, 64);
        assert_eq!(encode_line_frame(&[0; SERIAL_FRAME_BYTES]).unwrap().len(), 64);
        assert_eq!(encode_line_frame(&[0; SERIAL_FRAME_BYTES + 1]), None);
        assert_eq!(encode_line_frame(&[]), None);
        assert_eq!(encode_line_frame(&[1, 0, 2]).unwrap(), [0, 2, 1, 2, 2, 0]);
    }

    #[test]
    fn a_frame_that_was_cut_costs_only_itself() {
        let line = encode_line_frame(b"one frame").unwrap();
        let mut deframer = Deframer::new();
        let mut octets = line[..4].to_vec();
        octets.extend(&line);
        assert_eq!(frames(&mut deframer, &octets), [b"one frame"]);
        assert_eq!(deframer.noise(), 1);
    }
}
