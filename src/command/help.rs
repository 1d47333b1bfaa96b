//! `dsfs help`: the commands in groups, each with its line.

use std::fmt::Write;

use clap::Command;

/// What belongs together. Commands that are named in none of these are the last group.
const GROUPS: [(&str, &[&str]); 3] = [
    ("The server", &["serve", "check", "trace"]),
    ("Devices of a server", &["ctl", "tree", "map", "status", "top"]),
    ("Files of a server", &["ls", "read", "write", "stat", "rm"]),
];

/// The last group.
const OTHERS: &str = "On this machine";

/// The same program, whose help shows its commands by groups.
pub fn grouped(program: Command) -> Command {
    let named = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    let all: Vec<&str> = program.get_subcommands().map(Command::get_name).collect();
    let others: Vec<&str> = all.iter().copied().filter(|name| !named(name)).collect();
    let width = all.iter().map(|name| name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (heading, names) in GROUPS.iter().copied().chain([(OTHERS, &others[..])]) {
        let _ = writeln!(text, "{heading}:");
        for command in names.iter().filter_map(|name| program.find_subcommand(name)) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(text, "  {:width$}  {about}", command.get_name());
        }
        text.push('\n');
    }
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{text}Options:\n{{options}}{{after-help}}"
    );
    program.help_template(template)
}
