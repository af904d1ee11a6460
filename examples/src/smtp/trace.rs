//! The header lines that final delivery adds (RFC 5321, 4.4), and how to take them off again.

use super::reply::printable;
use super::store::Envelope;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const FIRST: &[u8] = b"Return-Path: <";
const LAST: &[u8] = b"Received: ";

/// `Return-Path`, one `Delivered-To` a recipient, and `Received` as the last line of the block.
pub(super) fn lines(envelope: &Envelope, by: &str, id: &str, at: SystemTime) -> String {
    let mut text = format!("Return-Path: <{}>\r\n", envelope.from);
    for to in &envelope.to {
        let _ = write!(text, "Delivered-To: {to}\r\n");
    }
    let helo = printable(&envelope.helo);
    let _ = write!(text, "Received: from {helo} by {by} with ESMTP id {id}; {}\r\n", date(at));
    text
}

/// A stored message as the client sent it: without the trace lines of this server's own delivery.
#[must_use]
pub fn without_trace(stored: &[u8]) -> &[u8] {
    if !stored.starts_with(FIRST) {
        return stored;
    }
    let mut rest = stored;
    while let Some(end) = rest.windows(2).position(|w| w == b"\r\n") {
        let (line, after) = rest.split_at(end + 2);
        rest = after;
        if line.starts_with(LAST) {
            return rest;
        }
        if !line.starts_with(FIRST) && !line.starts_with(b"Delivered-To: ") {
            break;
        }
    }
    stored
}

/// A date as headers have it, in UTC.
fn date(at: SystemTime) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    let seconds = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (mut year, mut day) = (1970, days);
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let length = |y| if leap(y) { 366 } else { 365 };
    while day >= length(year) {
        day -= length(year);
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = MONTHS[0];
    for (name, length) in MONTHS.into_iter().zip([31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]) {
        month = name;
        if day < length {
            break;
        }
        day -= length;
    }
    let weekday = DAYS[usize::try_from(days % 7).unwrap_or(0)];
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{weekday}, {} {month} {year} {hour:02}:{minute:02}:{second:02} +0000", day + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_at_their_corners() {
        for (seconds, text) in [
            (0, "Thu, 1 Jan 1970 00:00:00 +0000"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 +0000"),
            (1_795_339_895, "Sun, 22 Nov 2026 09:31:35 +0000"),
        ] {
            assert_eq!(date(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn a_trace_comes_off_and_nothing_else_does() {
        let envelope =
            Envelope { helo: "c\u{7}".into(), from: "a@b".into(), to: vec!["c@d".into(), "e@f".into()] };
        let trace = lines(&envelope, "n1", "7", UNIX_EPOCH);
        assert_eq!(trace.matches("\r\n").count(), 4);
        for message in ["", "Received: from elsewhere\r\n\r\nhello\r\n", "Return-Path: <x>\r\n\r\n"] {
            assert_eq!(
                without_trace([trace.as_bytes(), message.as_bytes()].concat().as_slice()),
                message.as_bytes()
            );
            assert_eq!(without_trace(message.as_bytes()), message.as_bytes());
        }
    }
}
