//! Heartbeat transports: UDP and serial lines.
