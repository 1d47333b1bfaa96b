//! The manual pages, the completions, `--help` and the documents: they say the same of the command
//! line, and the tools that show them find no fault.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

const SOURCE: &str = env!("CARGO_MANIFEST_DIR");

fn output(command: &mut Command) -> Option<Output> {
    command.stdin(Stdio::null()).output().ok()
}

/// Runs the program, which is to succeed; what it prints.
#[track_caller]
fn dsfs(args: &[&str]) -> String {
    let output = output(Command::new(env!("CARGO_BIN_EXE_dsfs")).args(args)).expect("it runs");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it prints text")
}

/// The commands, as the help of the program lists them: two blanks, the name, and what it does.
fn commands() -> Vec<String> {
    let help = dsfs(&["help"]);
    let listed = help.split("Options:").next().expect("there is a first part");
    let names = listed.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.map(str::to_owned).collect()
}

/// The options in a text: words of the form `--name`.
fn options(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_lowercase() || c == '-';
    let begins = text
        .match_indices("--")
        .filter(|&(at, _)| !text[..at].ends_with(|c: char| word(c) || c.is_ascii_alphanumeric()));
    let names = begins.map(|(at, _)| text[at..].split(|c| !word(c)).next().unwrap_or_default());
    names.filter(|name| name.len() > 2).map(str::to_owned).collect()
}

/// All pages, written into a directory of their own.
fn pages() -> (TempDir, Vec<PathBuf>) {
    let dir = tempfile::tempdir().expect("a directory");
    assert_eq!(dsfs(&["man", dir.path().to_str().expect("it is text")]), "");
    let sections = fs::read_dir(dir.path()).expect("it is there");
    let files = sections.flat_map(|section| {
        let section = section.expect("it can be read").path();
        fs::read_dir(section).expect("it is there").map(|file| file.expect("it is there").path())
    });
    let files = files.collect();
    (dir, files)
}

/// A page's text, without its escapes of hyphens and fonts.
fn text(page: &Path) -> String {
    let page = fs::read_to_string(page).expect("a page is text").replace("\\-", "-");
    ["B", "I", "R", "P"].iter().fold(page, |page, font| page.replace(&format!("\\f{font}"), ""))
}

#[test]
fn there_is_a_page_for_the_program_each_command_and_what_was_written_by_hand() {
    let (dir, pages) = pages();
    let names: BTreeSet<String> = pages
        .iter()
        .map(|page| page.strip_prefix(dir.path()).expect("it is in it").display().to_string())
        .collect();
    let by_hand = ["man3/dsfs-ctl.3", "man4/dsfs.4", "man6/dsfs-formats.6", "man1/dsfs.1"];
    let commands = commands().into_iter().map(|command| format!("man1/dsfs-{command}.1"));
    assert_eq!(names, by_hand.into_iter().map(str::to_owned).chain(commands).collect());
    assert_eq!(dsfs(&["man"]), fs::read_to_string(dir.path().join("man1/dsfs.1")).expect("text"));
}

/// With each of the tools that is here; a machine without any of them has nothing to show them with.
#[test]
fn the_tools_that_show_pages_find_no_fault() {
    let (_dir, pages) = pages();
    let tools: [(&str, &[&str]); 3] = [
        ("man", &["--warnings", "-l"]),
        ("groff", &["-ww", "-man", "-Tutf8", "-z"]),
        ("mandoc", &["-T", "lint", "-W", "error"]),
    ];
    for (tool, args) in tools {
        for page in &pages {
            let mut command = Command::new(tool);
            command.args(args).arg(page).env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80");
            let Some(shown) = output(&mut command) else {
                eprintln!("not here: {tool}");
                break;
            };
            // That of mandoc is on standard output, which has the page of the others.
            let fault = if shown.status.success() { &shown.stderr } else { &shown.stdout };
            let fault = String::from_utf8_lossy(fault);
            assert!(
                shown.status.success() && fault.is_empty(),
                "{tool} {}: {fault}",
                page.display()
            );
        }
    }
}

#[test]
fn help_and_pages_have_the_same_options() {
    let (dir, _) = pages();
    for command in commands() {
        let page = text(&dir.path().join(format!("man1/dsfs-{command}.1")));
        let help = dsfs(&[&command, "--help"]);
        assert_eq!(options(&page), options(&help), "{command}");
        let short = |text: &str, option: char| text.contains(&format!("-{option}"));
        for option in ('a'..='z').chain('A'..='Z') {
            let listed =
                help.contains(&format!(" -{option}, ")) || help.contains(&format!(" -{option}\n"));
            assert!(!listed || short(&page, option), "{command} -{option}");
        }
    }
}

/// The page that was written by hand names the server's options, all of them, and no others.
#[test]
fn the_page_of_the_server_has_its_options() {
    let page = text(&Path::new(SOURCE).join("docs/man/dsfs.4"));
    let mut of_serve = options(&dsfs(&["serve", "--help"]));
    assert!(of_serve.remove("--help"));
    assert_eq!(options(&page), of_serve);
    let described = page.lines().filter(|line| line.starts_with(".B") && line.contains("--"));
    assert_eq!(options(&described.collect::<String>()), of_serve);
}

#[test]
fn help_is_for_people() {
    let help = dsfs(&["help"]);
    let lines: Vec<&str> = help.lines().collect();
    assert!(lines.iter().all(|line| line.len() <= 100), "{help}");
    let listed = lines.iter().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    assert!(listed.clone().all(|line| line.len() <= 80), "{help}");
    let (_, examples) = help.split_once("Examples:\n").expect("they are at the end");
    assert!(examples.lines().count() >= 3, "{help}");
    let mut names = commands();
    names.sort();
    let before = names.len();
    names.dedup();
    assert_eq!(names.len(), before, "each is listed once");
    for name in &names {
        // The first line of a command's own help is what the list has.
        let about = dsfs(&[name, "-h"]).lines().next().expect("it says something").to_owned();
        let line = listed.clone().find(|line| line.split_whitespace().next() == Some(name));
        assert!(line.is_some_and(|line| line.ends_with(&about)), "{name}: {about}");
    }
}

/// The commands and options on a line of a shell: `dsfs NAME ... --option ...`, to the end of that
/// command.
fn uses(line: &str) -> Vec<(String, BTreeSet<String>)> {
    let starts = line
        .match_indices("dsfs ")
        .filter(|&(at, _)| at == 0 || line[..at].ends_with([' ', '(', '`', '/', '\'', '"', '\t']));
    let uses = starts.filter_map(|(at, _)| {
        let rest = &line[at + "dsfs ".len()..];
        let rest = rest.split(['|', ';', '&', '`', ')', '#']).next().unwrap_or_default();
        let name = rest.split_whitespace().next()?;
        name.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            .then(|| (name.to_owned(), options(rest)))
    });
    uses.collect()
}

/// What of a document is for a shell: its blocks, and what is in backquotes and begins with `dsfs`.
fn code(document: &str) -> Vec<&str> {
    let mut code = Vec::new();
    let mut fenced = false;
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if fenced || line.starts_with("    ") {
            code.push(line);
        } else {
            code.extend(
                line.split('`').skip(1).step_by(2).filter(|code| code.starts_with("dsfs ")),
            );
        }
    }
    code
}

#[test]
fn documents_name_no_command_or_option_that_there_is_not() {
    let known: Vec<(String, BTreeSet<String>)> = commands()
        .into_iter()
        .map(|command| {
            let options = options(&dsfs(&[&command, "--help"]));
            (command, options)
        })
        .collect();
    let mut documents =
        vec![Path::new(SOURCE).join("README.md"), Path::new(SOURCE).join("inferno/README.md")];
    let docs = fs::read_dir(Path::new(SOURCE).join("docs")).expect("it is there");
    documents
        .extend(docs.map(|file| file.expect("it is there").path()).filter(|path| path.is_file()));
    let mut found = 0;
    for path in documents {
        let document = fs::read_to_string(&path).expect("a document is text");
        for (name, used) in code(&document).into_iter().flat_map(uses) {
            // A line of inetd.conf has the program, and then its name.
            if ["help", "dsfs"].contains(&name.as_str()) {
                continue;
            }
            let (_, options) = known
                .iter()
                .find(|(command, _)| *command == name)
                .unwrap_or_else(|| panic!("{}: dsfs {name}", path.display()));
            let strange: Vec<&String> = used.difference(options).collect();
            assert!(strange.is_empty(), "{}: dsfs {name} {strange:?}", path.display());
            found += 1;
        }
    }
    assert!(found > 10, "only {found} uses were found");
}

#[test]
fn completions_know_every_command_and_option() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = dsfs(&["completions", shell]);
        for command in commands() {
            assert!(script.contains(&command), "{shell}: {command}");
        }
        assert!(script.contains("resume"), "{shell}");
    }
    // As bash asks for them: the words of the line, and which of them is to be completed.
    let ask = |words: &str, number: usize| {
        let script = format!(
            "source /dev/stdin; COMP_WORDS=({words}); COMP_CWORD={number}; \
             _dsfs dsfs \"${{COMP_WORDS[{number}]}}\" ''; echo \"${{COMPREPLY[*]}}\""
        );
        let completions = tempfile::NamedTempFile::new().expect("a file");
        fs::write(completions.path(), dsfs(&["completions", "bash"])).expect("it is ours");
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", &script]).stdin(completions.reopen().expect("it is there"));
        bash.output().ok().map(|output| String::from_utf8(output.stdout).expect("it is text"))
    };
    let Some(said) = ask("dsfs wr", 1) else {
        eprintln!("not here: bash");
        return;
    };
    assert_eq!(said, "write\n");
    assert_eq!(ask("dsfs write --res", 2).as_deref(), Some("--resume\n"));
}
