//! Every error text that a client can see: the `ename` of an Rerror (intro(5)).
//!
//! Programs compare these strings, so they are what Inferno's and Plan 9's kernels say, byte for
//! byte; a text here is never reworded. Texts that carry a name or a message are the fixed part
//! only: what is put round it, and where it is cut, is the business of who knows the name.
//!
//! Which of them is answered to what is in dsfs's `docs/compatibility.md`, row by row, where the ids of
//! its deviations (D1 and on, B1 and on) are explained too.

// The control messages of ds(3).

/// A control message without a word (devds and fs(3); check 1 of both).
pub const EEMPTYCTL: &str = "empty control message";
/// The first word is no command; the message follows in double quotes (devds, fs(3)).
pub const EUNKNOWNCTL: &str = "unknown control message";
/// A command with the wrong number of words; the message follows in double quotes (devds, fs(3)).
pub const ECMDARGS: &str = "wrong #args in control message";
/// More than 8 inner files (devds).
pub const EMANYDS: &str = "too many devices; fix me";
/// All 64 slots are taken (devds).
pub const ENODEV: &str = "no free devices";
/// A configuration file that is none (devds, when it reads one).
pub const ECONFIG: &str = "config string must start with `fsdev:'";
/// A catenation whose inner file moved less than it was asked for, in reads too (devds).
pub const EDSWRITE: &str = "#k: write failed";
/// The last resort: no leg of a mirror answered, a block of an inter is past its file's end
/// (devds, fs(3)).
pub const EIO: &str = "i/o error";

// The control messages of fs(3).

/// `mirror`, `cat` or `inter` without a name and a file (fs(3)).
pub const EFEWARGS: &str = "too few arguments for ctl";
/// More than 32 inner files (fs(3)).
pub const EMANYFS: &str = "too many devices in ctl";
/// `disk` with no argument or more than three (fs(3)).
pub const EDISKUSAGE: &str = "ctl usage: disk name [sz dev]";
/// `part` with the wrong number of arguments (fs(3)).
pub const EPARTUSAGE: &str = "ctl usage: part new [file] off len";
/// `crypt` with the wrong number of arguments (fs(3)).
pub const ECRYPTUSAGE: &str = "ctl usage: crypt newname device keyhex";
/// `crypt` with a key that is neither 32 nor 64 bytes (fs(3)).
pub const EBADKEY: &str = "bad hexkey";
/// A new directory when there are 128 already (fs(3), check 11).
pub const ENOTREES: &str = "no more trees";
/// A partition that starts past the end of its file (fs(3), check 12).
pub const EPARTSTART: &str = "partition starts after device end";
/// A crypt device on a file shorter than its header (fs(3), check 12).
pub const ECRYPTSTART: &str = "crypt starts after device end";
/// I/O on a device that was deleted while it was open (fs(3); B5).
pub const EGONE: &str = "device is gone";

// The kernel's device layer, and names.

/// A name that is taken (kernel's device layer).
pub const EEXIST: &str = "file already exists";
/// A walk, an open or a `del` of what is not there (kernel's device layer); also an inner file
/// that is missing, with its name beside it.
pub const ENONEXIST: &str = "file does not exist";
/// A walk from a file (kernel's device layer); also an inner file's name, with the name beside it.
pub const ENOTDIR: &str = "not a directory";
/// No right to do this, to this file, as this user (kernel's device layer).
pub const EPERM: &str = "permission denied";
/// An argument out of range: a number of `part` or `disk` (D3), a NUL in a message (D8), a transfer
/// of a crypt device that is not whole sectors (kernel's device layer).
pub const EBADARG: &str = "bad arg in system call";
/// A control character, a `/` or bad UTF-8 in a name, which follows after `: ` (kernel's device
/// layer).
pub const EBADCHAR: &str = "bad character in file name";
/// A name that is empty, `.` or `..` where a file is to be made (file server; D6).
pub const EFILENAME: &str = "file name syntax";
/// A device's name of more than 255 bytes (kernel's device layer; D6).
pub const ENAMETOOLONG: &str = "name too long";
/// A read of a directory whose count has no room for the next entry (kernel's device layer).
pub const EDIRCOUNT: &str = "i/o count too small";
/// An element in the middle of an inner file's name is missing; the name up to it stands before
/// (inner names, devds).
pub const ENOELEMENT: &str = "does not exist";
/// An inner file with no name at all (inner names).
pub const EEMPTYNAME: &str = "empty file name";
/// An inner file's name that starts with `#` and no device that there is (inner names).
pub const EBADSHARP: &str = "unknown device in # filename";
/// An inner file's name with more between the letter of a device and its `/`: `#kx` (inner names).
pub const EBADSPEC: &str = "bad attach specifier";

// The file server: fids, tags and messages.

/// A fid that was never walked to, or was clunked (file server).
pub const EUNKNOWNFID: &str = "no such fid";
/// A newfid or afid that is in use (file server).
pub const EFIDINUSE: &str = "fid in use";
/// One fid more than a connection may have (file server; a bound of dsfs).
pub const ENOFIDS: &str = "no free fids";
/// A walk from a fid that is open (file server; walk(5)).
pub const EWALKOPEN: &str = "walk of open fid";
/// An open mode that does not exist, or I/O on a fid that is not open (file server).
pub const EMODE: &str = "open/create -- unknown mode";
/// A read of a fid open for writing only, or the reverse (file server).
pub const EBADUSE: &str = "read/write -- not open in suitable mode";
/// A count of more than msize - 24 (file server), and a control message longer than dsfs takes.
pub const ECOUNT: &str = "read/write -- count too big";
/// An offset with its top bit set (file server).
pub const ENEGOFF: &str = "negative i/o offset";
/// A read of a directory at an offset other than 0 and the last one's end (file server).
pub const EDIRSEEK: &str = "can't seek on a directory";
/// A Tauth, or an attach with an afid: dsfs asks for no authentication (file server).
pub const ENOAUTH: &str = "authentication not required";
/// An msize of less than 64 (file server).
pub const ETOOSMALL: &str = "message size too small";
/// A Twstat whose entry is not one (file server; stat(5)).
pub const EBADSTAT: &str = "malformed stat buffer";
/// An Rstat that is longer than the msize (Inferno's `Eshortstat`).
pub const ESHORTSTAT: &str = "stat buffer too small";
/// A tag that an earlier request, not answered yet, has (file server; intro(5)).
pub const EDUPTAG: &str = "duplicate tag";
/// A request before Tversion (file server; version(5), D18).
pub const ENOVERSION: &str = "no version negotiated";
/// A string in a message that is not UTF-8 or has a NUL in it (file server; intro(5), D18).
pub const EBADTEXT: &str = "bad UTF-8 or NUL in message";

/// The same write again and again at a place where nothing is taken. Linux knows this text, as ENOSPC
/// (dsfs's own).
pub const EFULL: &str = "No space left on device";

/// A request to a server whose connection is gone (Inferno's and Plan 9's mnt(3), `Ehungup`).
pub const EHUNGUP: &str = "i/o on hungup channel";
/// A request that another server did not answer in time (dsfs's own).
pub const ETIMEDOUT: &str = "request timed out";
/// A sync of a file on another server that was away since it was written to: what it had not synced
/// may be gone (dsfs's own).
pub const EAWAY: &str = "server was away: what was not synced may be lost";
/// A file on another server that is no longer the one that was opened (dsfs's own).
pub const ECHANGED: &str = "file has changed: its qid or its length is another";
/// A mirror's leg that was made shorter behind our back (dsfs's own).
pub const ETRUNCATED: &str = "file is shorter than it was";
/// A request that no tag is left for (dsfs's own).
pub const ENOTAGS: &str = "too many requests to another server";
/// A write, or anything that changes something, to a server that was started to be read only (dsfs's own).
pub const EREADONLY: &str = "read-only file server";
/// An attach name that names no tree (dsfs's own).
pub const ENOTREE: &str = "unknown attach name";
/// An attach to `#U` where the root directory is not served (dsfs's own).
pub const ENOEXPORT: &str = "the root directory is not exported: start the server with --export";
/// A file for one client at a time that one has open (Plan 9's file servers).
pub const ELOCKED: &str = "open/create -- file is locked";
/// More open files than there are descriptors for (Inferno's `Enofd`).
pub const ENOFD: &str = "no free file descriptors";
/// A wstat to a group that does not exist (Inferno's `Eunknown`).
pub const EUNKNOWNGROUP: &str = "unknown user or group id";
/// A device that would reach more files in one transfer, or through more devices, than is allowed
/// (dsfs's own).
pub const EDEEP: &str = "device too large: too many files or devices inside it";
/// A control message while too many others wait for their turn (dsfs's own).
pub const ECTLBUSY: &str = "too many control messages under way";
/// A transfer that a fid is not open for (9front's kernel, above its device).
pub const EBADFD: &str = "inappropriate use of fd";
/// A directory opened for execution (9front's kernel, above its device).
pub const EEXECDIR: &str = "cannot exec directory";
