//! Guardian.
