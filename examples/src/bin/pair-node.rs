//! One node of a pair that guards an address, from flags alone. See `--help` and `docs/PAIR-NODE.md`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ha_examples::pair_node::main()
}
