//! How a record is written where others can read and damage it.

use crate::api::{ArbiterError, OwnerRecord};
use crate::{Epoch, Generation, Incarnation, InitId, NodeId};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// What the value says of itself, so that nobody takes another program's for ours.
const FORMAT: &str = "ha-owner-record";
const VERSION: u32 = 1;
/// Far more than a value of ours takes; the rest is foreign and not even parsed.
const MOST_BYTES: usize = 4096;
/// How much of a foreign value an error shows.
const SHOWN_BYTES: usize = 80;

/// A record as it is kept, with what tells it from others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stored {
    /// Random, of this very write.
    pub write: u128,
    pub record: OwnerRecord,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    format: String,
    version: u32,
    body: Body,
    crc32c: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    group: String,
    write: String,
    init: String,
    epoch: u64,
    owner: Option<u8>,
    incarnation: String,
    generation: u64,
    in_sync: u64,
}

#[derive(Deserialize)]
struct Envelope {
    format: String,
    version: u32,
}

/// The text of a record.
pub(super) fn encode(arbiter: &str, group: &str, stored: &Stored) -> Result<Vec<u8>, ArbiterError> {
    let record = &stored.record;
    let body = Body {
        group: group.to_owned(),
        write: format!("{:032x}", stored.write),
        init: format!("{:032x}", record.init.0),
        epoch: record.epoch.0,
        owner: record.owner.map(|node| node.0),
        incarnation: format!("{:032x}", record.incarnation.0),
        generation: record.generation.0,
        in_sync: record.in_sync,
    };
    let unwritable = |e: serde_json::Error| ArbiterError::Unusable {
        arbiter: arbiter.to_owned(),
        reason: format!("the record of group \"{group}\" cannot be written as text: {e}"),
    };
    let crc32c = checksum(&body).map_err(unwritable)?;
    let bytes = serde_json::to_vec(&Text { format: FORMAT.to_owned(), version: VERSION, body, crc32c })
        .map_err(unwritable)?;
    if bytes.len() > MOST_BYTES {
        return Err(ArbiterError::Unusable {
            arbiter: arbiter.to_owned(),
            reason: format!(
                "the record takes {} bytes, at most {MOST_BYTES} are read back: shorten the group's name",
                bytes.len()
            ),
        });
    }
    Ok(bytes)
}

/// The record in `bytes`, or why that is none of this group.
pub(super) fn decode(arbiter: &str, group: &str, bytes: &[u8]) -> Result<Stored, ArbiterError> {
    let foreign = |found: String, advice: &str| ArbiterError::Foreign {
        arbiter: arbiter.to_owned(),
        group: group.to_owned(),
        found,
        advice: advice.to_owned(),
    };
    let garbage = || {
        foreign(
            shown(bytes),
            "point the arbiter at a place of its own, or remove what is there once no node runs",
        )
    };
    if bytes.len() > MOST_BYTES {
        return Err(garbage());
    }
    let Ok(envelope) = serde_json::from_slice::<Envelope>(bytes) else { return Err(garbage()) };
    if envelope.format != FORMAT {
        return Err(garbage());
    }
    if envelope.version != VERSION {
        let found = format!("a record of format version {}, expected {VERSION}", envelope.version);
        return Err(foreign(found, "a newer library wrote it: bring this node to the same version"));
    }
    let damaged = || {
        foreign(format!("a damaged record: {}", shown(bytes)), "restore it, or remove it once no node runs")
    };
    let Ok(text) = serde_json::from_slice::<Text>(bytes) else { return Err(damaged()) };
    if checksum(&text.body).ok() != Some(text.crc32c) {
        return Err(damaged());
    }
    if text.body.group != group {
        let found = format!("the record of group {}", shown(text.body.group.as_bytes()));
        return Err(foreign(found, "somebody copied it here: remove it once no node runs"));
    }
    body_to_stored(&text.body).ok_or_else(damaged)
}

fn body_to_stored(body: &Body) -> Option<Stored> {
    let id = |text: &str| (text.len() == 32).then(|| u128::from_str_radix(text, 16).ok()).flatten();
    let record = OwnerRecord {
        init: InitId(id(&body.init)?),
        epoch: Epoch(body.epoch),
        owner: body.owner.map(NodeId),
        incarnation: Incarnation(id(&body.incarnation)?),
        generation: Generation(body.generation),
        in_sync: body.in_sync,
    };
    Some(Stored { write: id(&body.write)?, record })
}

fn checksum(body: &Body) -> Result<u32, serde_json::Error> {
    Ok(crc32c::crc32c(&serde_json::to_vec(body)?))
}

/// Foreign bytes, fit for a log line.
fn shown(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(SHOWN_BYTES)];
    let mut text = String::from("\"");
    for c in String::from_utf8_lossy(head).chars() {
        if c.is_control() { text.push('.') } else { text.push(c) }
    }
    text.push('"');
    if bytes.len() > SHOWN_BYTES {
        let _ = write!(text, " and so on, {} bytes", bytes.len());
    }
    text
}

/// A group's name as one path segment: small letters, digits and `-` stay, every other byte becomes `_` and two
/// hexadecimal digits, so that two names never share a place, not even on a file share that ignores case.
pub(super) fn segment(group: &str) -> String {
    let mut text = String::new();
    for byte in group.bytes() {
        if byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "_{byte:02x}");
        }
    }
    if text.is_empty() { "_".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn extreme() -> Stored {
        let record = OwnerRecord {
            init: InitId(u128::MAX),
            epoch: Epoch(u64::MAX),
            owner: Some(NodeId(255)),
            incarnation: Incarnation(1),
            generation: Generation(u64::MAX),
            in_sync: u64::MAX,
        };
        Stored { write: u128::MAX - 1, record }
    }

    #[test]
    fn the_text_says_what_it_is_and_reads_back() {
        let text = encode("a", "mail", &extreme()).unwrap();
        let shown = String::from_utf8(text.clone()).unwrap();
        assert!(
            shown.starts_with(r#"{"format":"ha-owner-record","version":1,"body":{"group":"mail","#),
            "{shown}"
        );
        assert_eq!(decode("a", "mail", &text).unwrap(), extreme());
    }

    #[test]
    fn golden_bytes_of_version_1() {
        let golden = concat!(
            r#"{"format":"ha-owner-record","version":1,"body":{"group":"mail","#,
            r#""write":"0000000000000000000000000000000a","init":"0000000000000000000000000000000b","epoch":7,"owner":1,"#,
            r#""incarnation":"0000000000000000000000000000000c","generation":3,"in_sync":3},"crc32c":3214692059}"#,
        );
        let record = OwnerRecord {
            init: InitId(0xb),
            epoch: Epoch(7),
            owner: Some(NodeId(1)),
            incarnation: Incarnation(0xc),
            generation: Generation(3),
            in_sync: 3,
        };
        let stored = Stored { write: 0xa, record };
        assert_eq!(String::from_utf8(encode("a", "mail", &stored).unwrap()).unwrap(), golden);
        assert_eq!(decode("a", "mail", golden.as_bytes()).unwrap(), stored);
    }

    #[test]
    fn what_is_not_ours_is_named() {
        let text = String::from_utf8(encode("a", "mail", &extreme()).unwrap()).unwrap();
        for (bytes, says) in [
            (String::new(), "found \"\""),
            ("\u{1b}[2Jgarbage".to_owned(), "found \".[2Jgarbage\""),
            (r#"{"format":"x","version":1}"#.to_owned(), "found \"{"),
            (text.replace(r#""version":1"#, r#""version":2"#), "format version 2, expected 1"),
            (text.replace("18446744073709551615", "18446744073709551614"), "a damaged record"),
            (text[..text.len() - 1].to_owned(), "found \"{"),
            (text.replace(r#""crc32c""#, r#""more":1,"crc32c""#), "a damaged record"),
            ("x".repeat(MOST_BYTES + 1), "and so on, 4097 bytes"),
        ] {
            let error = decode("a", "mail", bytes.as_bytes()).unwrap_err();
            assert!(matches!(error, ArbiterError::Foreign { .. }), "{error}");
            assert!(error.to_string().contains(says), "{error}\nexpected: {says}");
        }
        let padded = format!("{text}{}", " ".repeat(MOST_BYTES));
        let error = decode("a", "mail", padded.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("bytes; point the arbiter at a place of its own"), "{error}");
        let error = encode("a", &"x".repeat(MOST_BYTES), &extreme()).unwrap_err();
        assert!(error.to_string().contains("shorten the group's name"), "{error}");
        let error = decode("a", "other", text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("the record of group \"mail\""), "{error}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decode("a", "g", &bytes).is_err());
        }

        #[test]
        fn no_change_of_a_byte_goes_unseen(at in 0usize..200, to in any::<u8>()) {
            let mut text = encode("a", "mail", &extreme()).unwrap();
            let at = at % text.len();
            prop_assume!(text[at] != to);
            text[at] = to;
            // What reads back at all is the same record: a space for a space, say.
            prop_assert!(decode("a", "mail", &text).map_or(true, |s| s == extreme()));
        }

        #[test]
        fn two_groups_never_share_a_place(a in ".{0,8}", b in ".{0,8}") {
            prop_assert_eq!(segment(&a).eq_ignore_ascii_case(&segment(&b)), a == b);
        }
    }
}
