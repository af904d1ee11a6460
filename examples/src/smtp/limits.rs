//! What a client may ask for.

use std::time::Duration;

/// What a client may ask for. The defaults are RFC 5321's where it names one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest command line with its CRLF: 512, and 43 for the parameters `SIZE` and `BODY`.
    pub command_line_bytes: usize,
    /// Longest line of a message with its CRLF, without a stuffed dot.
    pub text_line_bytes: usize,
    /// Longest message as it is stored, without the trace lines.
    pub message_bytes: usize,
    /// Recipients of one message.
    pub recipients: usize,
    /// Commands in error before the connection is closed.
    pub errors: u32,
    /// Connections at a time. Each may hold one message in memory.
    pub sessions: usize,
    /// Silence of a client before the connection is closed.
    pub idle: Duration,
    /// How long a client may take to read a reply.
    pub write: Duration,
    /// How long one message may take from `DATA` to its final dot.
    pub data: Duration,
    /// How long the answer to the final dot waits for the store before it is `451`.
    pub commit: Duration,
    /// How long a stop lets transactions go on; never longer than the stop's own budget allows.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            command_line_bytes: 512 + 43,
            text_line_bytes: 1000,
            message_bytes: 10 << 20,
            recipients: 100,
            errors: 20,
            sessions: 256,
            idle: Duration::from_secs(300),
            write: Duration::from_secs(60),
            data: Duration::from_secs(600),
            commit: Duration::from_secs(5),
            drain: Duration::from_millis(250),
        }
    }
}
