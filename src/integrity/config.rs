//! The bytes of the configuration in a state directory (docs/state-format.md). Pure.

/// The first word, and the version of the format.
const SIGNATURE: &str = "dsfs-state";
const VERSION: u32 = 1;

/// The file that keeps this text for a dialect.
pub fn encode(dialect: &str, text: &[u8]) -> Vec<u8> {
    let prefix = format!("{SIGNATURE} {VERSION} {dialect} {} ", text.len());
    let sum = crc32c::crc32c_append(crc32c::crc32c(prefix.as_bytes()), text);
    [format!("{prefix}{sum:08x}\n").as_bytes(), text].concat()
}

/// The text that a file keeps for a dialect.
///
/// # Errors
/// Why it is refused, in words: it is none, or damaged, or of another version or dialect.
pub fn decode<'a>(file: &'a [u8], dialect: &str) -> Result<&'a [u8], String> {
    let end = file.iter().position(|&byte| byte == b'\n');
    let (line, text) = file.split_at(end.map_or(0, |end| end + 1));
    let line = std::str::from_utf8(line).unwrap_or_default();
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [SIGNATURE, version, saved, _, _] = words[..] else {
        return Err("it is no saved configuration of dsfs".into());
    };
    if version != VERSION.to_string() {
        return Err(format!(
            "its format is version {version}, and this dsfs knows version {VERSION}"
        ));
    }
    if encode(saved, text) != file {
        return Err("it is damaged".into());
    }
    if saved != dialect {
        return Err(format!("it was saved with --dialect {saved}"));
    }
    Ok(text)
}
