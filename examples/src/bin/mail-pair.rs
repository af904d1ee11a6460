//! A pair of mail servers that fails over, watched while it is killed, frozen and cut off. See `--help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        Some(("__node", rest)) => ha_examples::node::main(rest),
        Some(("__sidecar", _)) => ha_examples::node::sidecar_main(),
        Some(("__chassis", rest)) => ha_examples::chassis::main(rest),
        Some(("__relay", rest)) => ha_examples::relay::main(rest),
        _ => ha_examples::driver::main(),
    }
}
