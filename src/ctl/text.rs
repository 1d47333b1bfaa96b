//! A configured device as a line of the ctl text, such that the text, written back line by line,
//! gives the same devices (D2). The key of a crypt device is never in it.

use styx::words::join;

use super::{Config, Dialect, Kind};

/// The line of this device, with its newline.
///
/// In devds the words as they were typed; in fs(3) `TYPE [DIR/]NAME FILES...`, `fs/` left out, a
/// partition with its start and its length in bytes as [`Config::kind`] has them, `crypt` without its key
/// (so that only [`parse_saved`](super::parse_saved) takes it back). Words are quoted if they need it.
pub fn line(dialect: Dialect, config: &Config) -> String {
    let mut line = match dialect {
        Dialect::Devds => join(&config.words),
        Dialect::Plan9 => join(fs_words(config)),
    };
    line.push('\n');
    line
}

fn fs_words(config: &Config) -> Vec<String> {
    let verb = match config.kind {
        Kind::Mirror => "mirror",
        Kind::Cat => "cat",
        Kind::Inter => "inter",
        Kind::Part { .. } => "part",
        Kind::Crypt { .. } => "crypt",
    };
    let name = if config.dir == Dialect::Plan9.rules().dir {
        config.name.clone()
    } else {
        format!("{}/{}", config.dir, config.name)
    };
    let mut words = vec![verb.to_owned(), name];
    words.extend(config.inner.iter().cloned());
    if let Kind::Part { start, length } = config.kind {
        words.extend([start.to_string(), length.to_string()]);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ctl::Key;

    fn config(dir: &str, name: &str, kind: Kind, inner: &[&str]) -> Config {
        let inner = inner.iter().map(|&name| name.to_owned()).collect();
        Config { dir: dir.into(), name: name.into(), kind, inner, words: Vec::new() }
    }

    #[test]
    fn fs_lines() {
        let part = Kind::Part { start: 512, length: 0 };
        let crypt = Kind::Crypt { key: Key::from_hex(&[b'7'; 64]) };
        for (config, expected) in [
            (config("fs", "m", Kind::Mirror, &["/a", "/b"]), "mirror m /a /b\n"),
            (config("d", "c", Kind::Cat, &["/a"]), "cat d/c /a\n"),
            (config("d e", "i", Kind::Inter, &["/a b", ""]), "inter 'd e/i' '/a b' ''\n"),
            (config("fs", "it's", part, &["/a"]), "part 'it''s' /a 512 0\n"),
            (config("d", "x", crypt, &["/a"]), "crypt d/x /a\n"),
        ] {
            assert_eq!(line(Dialect::Plan9, &config), expected);
        }
    }

    #[test]
    fn ds_lines_are_as_typed() {
        let words = ["part", "p 0", "/a", "+010", "5"].map(str::to_owned).to_vec();
        let part = Kind::Part { start: 10, length: 3 };
        let config = Config { words, ..config("ds", "p 0", part, &["/a"]) };
        assert_eq!(line(Dialect::Devds, &config), "part 'p 0' /a +010 5\n");
    }
}
