//! A document of the project, as far as the tests look at it: its blocks, its links and what can be
//! linked to in it.

use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

/// The project's directory.
pub const TOP: &str = env!("CARGO_MANIFEST_DIR");

/// Directories that hold no documents of the project: what is built, and what is hidden.
fn is_ours(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or(".");
    name != "target" && !name.starts_with('.')
}

pub struct Document {
    /// Its path below [`TOP`].
    pub name: String,
    pub blocks: Vec<Block>,
    /// The targets of its links.
    pub links: Vec<String>,
    /// What a `#` in a link can name: its headings, as GitHub spells them.
    pub anchors: Vec<String>,
}

/// A block of code.
pub struct Block {
    /// The line of its first line, from 1.
    pub line: usize,
    /// The words after the fence; `None` for a block that is only indented.
    pub info: Option<String>,
    pub text: String,
}

/// A command, as a person types it, and what it prints.
pub struct Step {
    pub line: usize,
    pub command: String,
    pub shown: String,
}

impl Document {
    /// Every document of the project.
    pub fn all() -> Vec<Document> {
        let mut paths = Vec::new();
        find(Path::new(TOP), &mut paths);
        paths.sort();
        paths.iter().map(|path| Document::read(path)).collect()
    }

    fn read(path: &Path) -> Document {
        let text = fs::read_to_string(path).expect("a document can be read");
        let name = path.strip_prefix(TOP).expect("it is below").display().to_string();
        let mut document = Document { name, blocks: vec![], links: vec![], anchors: vec![] };
        let line = |at: usize| 1 + text[..at].matches('\n').count();
        // The text of the block or heading that the parser is in.
        let mut inside: Option<String> = None;
        for (event, place) in Parser::new_ext(&text, Options::ENABLE_TABLES).into_offset_iter() {
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    let (info, first) = match kind {
                        CodeBlockKind::Fenced(info) => (Some(info.to_string()), 1),
                        CodeBlockKind::Indented => (None, 0),
                    };
                    let line = line(place.start) + first;
                    document.blocks.push(Block { line, info, text: String::new() });
                    inside = Some(String::new());
                }
                Event::Start(Tag::Heading { .. }) => inside = Some(String::new()),
                Event::Start(Tag::Link { dest_url, .. }) => document.links.push(dest_url.into()),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(inside) = &mut inside {
                        inside.push_str(&text);
                    }
                }
                Event::End(TagEnd::CodeBlock) => {
                    let block = document.blocks.last_mut().expect("it has begun");
                    block.text = inside.take().unwrap_or_default();
                }
                Event::End(TagEnd::Heading(_)) => {
                    document.anchors.push(anchor(&inside.take().unwrap_or_default()));
                }
                _ => {}
            }
        }
        document
    }
}

fn find(dir: &Path, documents: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory can be read") {
        let path = entry.expect("it can be read to its end").path();
        if path.is_dir() && is_ours(&path) {
            find(&path, documents);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            documents.push(path);
        }
    }
}

/// A heading as a link names it.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.to_lowercase().chars().filter(kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

impl Step {
    /// Whether the shell goes on while the command runs.
    pub fn is_in_background(&self) -> bool {
        self.command.ends_with('&')
    }
}

impl Block {
    /// The commands of a block of nothing else: one a line, but for lines that end with `\\`.
    pub fn commands(&self) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        for (line, text) in (self.line..).zip(self.text.lines()) {
            match steps.last_mut().filter(|step| step.command.ends_with('\\')) {
                Some(step) => step.command.push_str(&format!("\n{text}")),
                None => steps.push(Step { line, command: text.into(), shown: String::new() }),
            }
        }
        steps
    }

    /// The commands of a block in which `$ ` stands before each, `> ` before each further line of
    /// it, and what it prints below; `Err` is what stands before the first command.
    pub fn steps(&self) -> Result<Vec<Step>, String> {
        let mut steps: Vec<Step> = Vec::new();
        for (line, text) in (self.line..).zip(self.text.lines()) {
            match (text.strip_prefix("$ "), text.strip_prefix("> "), steps.last_mut()) {
                (Some(command), ..) => {
                    steps.push(Step { line, command: command.into(), shown: String::new() });
                }
                (_, Some(more), Some(step)) if step.shown.is_empty() => {
                    step.command.push('\n');
                    step.command.push_str(more);
                }
                (_, _, Some(step)) => {
                    step.shown.push_str(text);
                    step.shown.push('\n');
                }
                (_, _, None) => return Err(text.into()),
            }
        }
        Ok(steps)
    }
}
