//! Virtual addresses that follow the active node.
