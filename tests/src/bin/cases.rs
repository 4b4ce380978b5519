//! `make cases [CASES=DIR]`: runs every recorded case, prints counts by area, fails when one fails.

use std::path::PathBuf;
use std::process::ExitCode;

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]
fn main() -> ExitCode {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("../shared/cases"), PathBuf::from);
    match tests::cases::run(&folder) {
        Ok(report) => {
            print!("{report}");
            if report.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("{error:#}; give the folder of recorded cases: make cases CASES=DIR");
            ExitCode::from(2)
        }
    }
}
