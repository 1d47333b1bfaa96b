//! The command line: which command, and what becomes of its result. The commands themselves are in
//! [`command`].

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::command::{
    self, check, ctl, help, lab15, ls, man, map, read, rm, serve, stat, status, top, trace, tree,
    write, zeros,
};

/// The exit status of a command that failed. That of wrong usage, 2, is clap's own.
const FAILED: u8 = 1;

/// Build mirrors, catenations, interleavings and partitions out of files, and serve them over Styx
/// (9P2000).
///
/// Most commands are a small client of any 9P2000 server; -a says which one. 'dsfs help COMMAND'
/// says all of a command.
#[derive(Debug, Parser)]
#[command(name = "dsfs", version, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Options),
    Lab15(lab15::Options),
    Ls(ls::Options),
    Read(read::Options),
    Write(write::Options),
    Stat(stat::Options),
    Rm(rm::Options),
    Ctl(ctl::Options),
    Check(check::Options),
    Tree(tree::Options),
    Map(map::Options),
    Status(status::Options),
    Top(top::Options),
    Trace(trace::Options),
    Zeros(zeros::Options),
    Man(man::Options),
    Completions(man::Completions),
}

const EXAMPLES: &str = "\
Examples:
  dsfs zeros 64M /tmp/disks/a /tmp/disks/b
  dsfs serve --root /tmp/disks &
  dsfs ctl mirror m0 /a /b
  dsfs ls -l
  dsfs write m0 image
  dsfs read m0 --count 512";

/// The program's options and commands.
fn definitions() -> clap::Command {
    help::grouped(Cli::command())
}

/// Runs what the command line says, and tells standard error why it failed if it did. The result
/// is 0, 1 if the command failed, or 2 if it was used wrongly.
pub fn main() -> ExitCode {
    // clap prints help and errors, and exits with 0 or 2.
    let matches = definitions().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let mut out = io::BufWriter::new(io::stdout().lock());
    let result = match cli.command {
        Command::Serve(options) => options.run(),
        Command::Lab15(options) => options.run(&mut out),
        Command::Ls(options) => options.run(&mut out),
        Command::Read(options) => options.run(&mut out),
        Command::Write(options) => options.run(),
        Command::Stat(options) => options.run(&mut out),
        Command::Rm(options) => options.run(),
        Command::Ctl(options) => options.run(&mut out),
        Command::Check(options) => options.run(&mut out),
        Command::Tree(options) => options.run(&mut out),
        Command::Map(options) => options.run(&mut out),
        Command::Status(options) => options.run(&mut out),
        Command::Top(options) => options.run(&mut out),
        Command::Trace(options) => options.run(&mut out),
        Command::Zeros(options) => options.run(),
        Command::Man(options) => options.run(definitions(), &mut out),
        Command::Completions(options) => options.run(definitions(), &mut out),
    };
    // What came before an error is printed before the error is.
    let result = result.and(out.flush().map_err(command::Error::Output));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_quiet() {
                eprintln!("dsfs: {error}");
            }
            ExitCode::from(FAILED)
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn clap_finds_no_fault_with_the_options() {
        super::definitions().debug_assert();
    }
}
