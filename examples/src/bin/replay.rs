//! What a node's engine decided, and why, from the log that it keeps: every decision is computed again, compared
//! with the one that was taken, and explained. See `--help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ha_examples::replayer::main()
}
