//! A message as one line of text, in the words that Plan 9's `fcallfmt` (fcall(2)) has made familiar:
//! `Twalk tag 3 fid 1 newfid 2 nwname 1 0:foo`.
//!
//! What is written to a file, and what is read from one, is shown as a count and never itself. A name
//! is one word of the line, quoted where it has to be; long ones are cut.

use std::fmt::{Result, Write};

use crate::message::{Qid, Rmsg, Tmsg};
use crate::stat::Stat;
use crate::words::quote;

/// The bytes of a name that are shown.
const NAME: usize = 255;

/// Writes a request and its tag, without a newline.
///
/// # Errors
/// Those of `out`.
pub fn request(tag: u16, message: &Tmsg<'_>, out: &mut impl Write) -> Result {
    match *message {
        Tmsg::Version { msize, version } => {
            write!(out, "Tversion tag {tag} msize {msize} version ")?;
            name(version, out)
        }
        Tmsg::Auth { afid, uname, aname } => {
            write!(out, "Tauth tag {tag} afid {afid}")?;
            names(uname, aname, out)
        }
        Tmsg::Attach { fid, afid, uname, aname } => {
            write!(out, "Tattach tag {tag} fid {fid} afid {}", afid.cast_signed())?;
            names(uname, aname, out)
        }
        Tmsg::Flush { oldtag } => write!(out, "Tflush tag {tag} oldtag {oldtag}"),
        Tmsg::Walk { fid, newfid, names } => {
            write!(out, "Twalk tag {tag} fid {fid} newfid {newfid} nwname {}", names.len())?;
            names.iter().enumerate().try_for_each(|(number, element)| {
                write!(out, " {number}:")?;
                name(element, out)
            })
        }
        Tmsg::Open { fid, mode } => write!(out, "Topen tag {tag} fid {fid} mode {mode}"),
        Tmsg::Create { fid, name: new, perm, mode } => {
            write!(out, "Tcreate tag {tag} fid {fid} name ")?;
            name(new, out)?;
            write!(out, " perm {perm:#o} mode {mode}")
        }
        Tmsg::Read { fid, offset, count } => {
            write!(out, "Tread tag {tag} fid {fid} offset {offset} count {count}")
        }
        Tmsg::Write { fid, offset, data } => {
            write!(out, "Twrite tag {tag} fid {fid} offset {offset} count {}", data.len())
        }
        Tmsg::Clunk { fid } => write!(out, "Tclunk tag {tag} fid {fid}"),
        Tmsg::Remove { fid } => write!(out, "Tremove tag {tag} fid {fid}"),
        Tmsg::Stat { fid } => write!(out, "Tstat tag {tag} fid {fid}"),
        Tmsg::Wstat { fid, stat } => {
            write!(out, "Twstat tag {tag} fid {fid} stat ")?;
            entry(stat, out)
        }
    }
}

/// Writes a reply and its tag, without a newline.
///
/// # Errors
/// Those of `out`.
pub fn reply(tag: u16, message: &Rmsg<'_>, out: &mut impl Write) -> Result {
    match *message {
        Rmsg::Version { msize, version } => {
            write!(out, "Rversion tag {tag} msize {msize} version ")?;
            name(version, out)
        }
        Rmsg::Auth { aqid } => write!(out, "Rauth tag {tag} aqid {aqid}"),
        Rmsg::Attach { qid } => write!(out, "Rattach tag {tag} qid {qid}"),
        Rmsg::Error { ename } => {
            write!(out, "Rerror tag {tag} ename ")?;
            name(ename, out)
        }
        Rmsg::Flush => write!(out, "Rflush tag {tag}"),
        Rmsg::Walk { qids } => {
            write!(out, "Rwalk tag {tag} nwqid {}", qids.len())?;
            qids.iter().enumerate().try_for_each(|(number, qid)| write!(out, " {number}:{qid}"))
        }
        Rmsg::Open { qid, iounit } => write!(out, "Ropen tag {tag} qid {qid} iounit {iounit}"),
        Rmsg::Create { qid, iounit } => write!(out, "Rcreate tag {tag} qid {qid} iounit {iounit}"),
        Rmsg::Read { data } => write!(out, "Rread tag {tag} count {}", data.len()),
        Rmsg::Write { count } => write!(out, "Rwrite tag {tag} count {count}"),
        Rmsg::Clunk => write!(out, "Rclunk tag {tag}"),
        Rmsg::Remove => write!(out, "Rremove tag {tag}"),
        Rmsg::Stat { stat } => {
            write!(out, "Rstat tag {tag} stat ")?;
            entry(stat, out)
        }
        Rmsg::Wstat => write!(out, "Rwstat tag {tag}"),
    }
}

/// A name as one word: what would end the line, or steer a terminal, is U+FFFD.
fn name(text: &str, out: &mut impl Write) -> Result {
    let end = text.floor_char_boundary(NAME);
    let shown = text[..end].replace(char::is_control, "\u{fffd}");
    let more = if end < text.len() { "..." } else { "" };
    write!(out, "{}{more}", quote(&shown))
}

fn names(uname: &str, aname: &str, out: &mut impl Write) -> Result {
    out.write_str(" uname ")?;
    name(uname, out)?;
    out.write_str(" aname ")?;
    name(aname, out)
}

/// An entry, as `dirfmt` shows one; what is left alone by a wstat is a dash.
fn entry(stat: &[u8], out: &mut impl Write) -> Result {
    let Ok(stat) = Stat::decode(stat) else {
        return write!(out, "malformed count {}", stat.len());
    };
    name(stat.name, out)?;
    for text in [stat.uid, stat.gid, stat.muid] {
        out.write_char(' ')?;
        name(text, out)?;
    }
    if stat.qid == (Qid { kind: !0, vers: !0, path: !0 }) {
        out.write_str(" q -")?;
    } else {
        write!(out, " q {}", stat.qid)?;
    }
    let set = |value: u32| if value == !0 { "-".into() } else { value.to_string() };
    let mode = if stat.mode == !0 { "-".into() } else { format!("{:#o}", stat.mode) };
    let length = if stat.length == !0 { "-".into() } else { stat.length.to_string() };
    write!(out, " m {mode} at {} mt {} l {length}", set(stat.atime), set(stat.mtime))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::UpTo16;

    fn shown(message: &Tmsg<'_>) -> String {
        let mut line = String::new();
        request(3, message, &mut line).expect("a String takes any text");
        line
    }

    #[test]
    fn a_line_is_in_the_words_of_fcall() {
        let names = UpTo16::from_slice(&["foo", "it's"]).expect("two names");
        let walk = Tmsg::Walk { fid: 1, newfid: 2, names };
        assert_eq!(shown(&walk), "Twalk tag 3 fid 1 newfid 2 nwname 2 0:foo 1:'it''s'");
        let attach = Tmsg::Attach { fid: 0, afid: !0, uname: "glenda", aname: "" };
        assert_eq!(shown(&attach), "Tattach tag 3 fid 0 afid -1 uname glenda aname ''");
        let mut line = String::new();
        reply(9, &Rmsg::Error { ename: "i/o error" }, &mut line).expect("text");
        assert_eq!(line, "Rerror tag 9 ename 'i/o error'");
    }

    #[test]
    fn contents_are_counts_and_names_stay_on_the_line() {
        let write = Tmsg::Write { fid: 1, offset: 7, data: b"secret" };
        assert_eq!(shown(&write), "Twrite tag 3 fid 1 offset 7 count 6");
        let mut line = String::new();
        reply(4, &Rmsg::Read { data: b"secret" }, &mut line).expect("text");
        assert_eq!(line, "Rread tag 4 count 6");
        let name = "a\nb".to_string() + &"x".repeat(300);
        let line = shown(&Tmsg::Create { fid: 1, name: &name, perm: 0o644, mode: 1 });
        assert!(line.starts_with("Tcreate tag 3 fid 1 name a\u{fffd}bxx"), "{line}");
        assert!(line.ends_with("xxx... perm 0o644 mode 1") && !line.contains('\n'), "{line}");
        let line = shown(&Tmsg::Wstat { fid: 1, stat: b"no entry" });
        assert_eq!(line, "Twstat tag 3 fid 1 stat malformed count 8");
    }
}
