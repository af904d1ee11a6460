//! A group's name in its region.

/// Bytes of a name at most.
pub(crate) const NAME_MAX: usize = 200;

pub(crate) fn encode(name: &str) -> Vec<u8> {
    name.as_bytes().to_vec()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<String, String> {
    if bytes.is_empty() || bytes.len() > NAME_MAX {
        return Err(format!("a name of {} bytes", bytes.len()));
    }
    String::from_utf8(bytes.to_vec()).map_err(|_| format!("the name \"{}\"", bytes.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_text() {
        let longest = "x".repeat(NAME_MAX);
        assert_eq!(decode(&encode(&longest)).unwrap(), longest);
        for bad in [&b""[..], &[b'x'; NAME_MAX + 1], &[0xff, 0xfe]] {
            assert!(decode(bad).is_err());
        }
    }
}
