//! `dsfs man` and `dsfs completions`: what the command line's own definitions say, for man(1) and for
//! shells; with the pages that were written by hand.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::Error;
use super::local::failed;

/// Print the manual page, or write all pages below a directory.
///
/// In DIR, a directory is made for each section, as in /usr/share/man; 'man -M DIR dsfs' shows them.
#[derive(Debug, Args)]
pub struct Options {
    /// Where to write them
    dir: Option<PathBuf>,
}

/// Print the completions of the command line for a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dsfs completions bash > ~/.local/share/bash-completion/completions/dsfs
  dsfs completions fish > ~/.config/fish/completions/dsfs.fish")]
pub struct Completions {
    /// The shell
    shell: Shell,
}

/// The pages that were written by hand: section, name, text.
const BY_HAND: [(u8, &str, &str); 3] = [
    (3, "dsfs-ctl", include_str!("../../docs/man/dsfs-ctl.3")),
    (4, "dsfs", include_str!("../../docs/man/dsfs.4")),
    (6, "dsfs-formats", include_str!("../../docs/man/dsfs-formats.6")),
];

/// The line that examples begin with in a command's help.
const EXAMPLES: &str = "Examples:\n";

/// What else to read: of the program, and of some of its commands.
const SEE_ALSO: &str = "dsfs\\-ctl(3), dsfs(4), dsfs\\-formats(6)";

impl Options {
    /// Prints or writes, for the program `command`.
    ///
    /// # Errors
    /// If a page can't be written.
    pub fn run(self, mut command: Command, out: &mut dyn Write) -> Result<(), Error> {
        command = command.disable_help_subcommand(true);
        command.build();
        let Some(dir) = self.dir else {
            return page(&command, out).map_err(Error::Output);
        };
        let commands = command.get_subcommands().filter(|command| !command.is_hide_set());
        for command in commands.chain([&command]) {
            let mut text = Vec::new();
            page(command, &mut text).map_err(Error::Output)?;
            write(&dir, 1, name(command), &text)?;
        }
        BY_HAND
            .iter()
            .try_for_each(|(section, name, text)| write(&dir, *section, name, text.as_bytes()))
    }
}

impl Completions {
    /// Prints.
    ///
    /// # Errors
    /// If standard output can't be written.
    pub fn run(self, mut command: Command, out: &mut dyn Write) -> Result<(), Error> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command, "dsfs", &mut text);
        out.write_all(&text).map_err(Error::Output)
    }
}

/// Writes `DIR/manSECTION/NAME.SECTION`.
fn write(dir: &Path, section: u8, name: &str, text: &[u8]) -> Result<(), Error> {
    let dir = dir.join(format!("man{section}"));
    fs::create_dir_all(&dir).map_err(failed(&dir))?;
    let path = dir.join(format!("{name}.{section}"));
    fs::write(&path, text).map_err(failed(&path))
}

/// What a page is called: `dsfs-ls`.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// The page of a command in section 1.
fn page(command: &Command, out: &mut dyn Write) -> io::Result<()> {
    let title = escaped(&name(command).to_uppercase());
    // Without a date: it would be that of the build.
    let version = env!("CARGO_PKG_VERSION");
    writeln!(out, ".TH {title} 1 \"\" \"dsfs {version}\" \"Commands\"")?;
    let man = Man::new(command.clone());
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    if command.has_subcommands() {
        man.render_subcommands_section(out)?;
    }
    man.render_options_section(out)?;
    if let Some(text) = command.get_after_help() {
        let text = text.to_string();
        let examples = text.strip_prefix(EXAMPLES).unwrap_or(&text);
        writeln!(out, ".SH EXAMPLES\n.EX")?;
        examples.lines().try_for_each(|line| writeln!(out, "{}", escaped(line)))?;
        writeln!(out, ".EE")?;
    }
    let program = if command.has_subcommands() { "" } else { "dsfs(1), " };
    writeln!(out, ".SH SEE ALSO\n{program}{SEE_ALSO}")
}

/// A line of text that troff shows as it is.
fn escaped(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-").replace('\'', "\\(aq");
    if line.starts_with('.') { format!("\\&{line}") } else { line }
}
