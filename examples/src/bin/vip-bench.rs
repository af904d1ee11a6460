//! Measures takeovers of an address by keepalived and by pair-node, the same way. See `--help` and docs/TESTBED.md.

use std::process::ExitCode;

fn main() -> ExitCode {
    ha_examples::vip::bench::main()
}
