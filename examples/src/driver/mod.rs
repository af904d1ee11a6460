//! The driver.
use std::process::ExitCode;
/// Runs the demonstration.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
