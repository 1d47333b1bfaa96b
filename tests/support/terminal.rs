//! A terminal for a program that looks whether it has one.

#![allow(dead_code, reason = "each program uses its own part of this")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Our end of a terminal: what a program shows there, as it comes.
pub struct Screen {
    ours: File,
    shown: Arc<Mutex<String>>,
    /// Nobody reads on.
    over: Arc<AtomicBool>,
    reader: JoinHandle<()>,
}

/// How often a reader looks whether it is to read on.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

impl Screen {
    /// A terminal of 80 columns and 24 rows: our end of it, and the program's.
    pub fn new() -> (Screen, OwnedFd) {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
            .expect("a terminal");
        grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("it is ours");
        let name = ptsname(&ours, Vec::new()).expect("it has a name").into_string().expect("text");
        let theirs = File::options().read(true).write(true).open(name).expect("its other end");
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&theirs, size).expect("a size");
        let ours = File::from(ours);
        let shown = Arc::new(Mutex::new(String::new()));
        let over = Arc::new(AtomicBool::new(false));
        let (mut from, showing) = (ours.try_clone().expect("a second handle"), shown.clone());
        let ends = over.clone();
        let reader = thread::spawn(move || {
            let mut room = [0; 4096];
            while !ends.load(Ordering::Acquire) {
                let mut readable = [PollFd::new(&from, PollFlags::IN)];
                if poll(&mut readable, Some(&LOOK)).expect("it can be waited for") == 0 {
                    continue;
                }
                // The end of a terminal whose other side is closed is an error.
                let Ok(read @ 1..) = from.read(&mut room) else { return };
                showing.lock().expect("no panic").push_str(&String::from_utf8_lossy(&room[..read]));
            }
        });
        (Screen { ours, shown, over, reader }, theirs.into())
    }

    /// Presses these keys.
    pub fn press(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Whether this has been shown.
    pub fn has(&self, text: &str) -> bool {
        self.shown.lock().expect("no panic").contains(text)
    }

    /// Takes the terminal away.
    pub fn hang_up(self) {
        self.over.store(true, Ordering::Release);
        self.reader.join().expect("the thread is well");
    }

    /// All that was shown, when the program is gone.
    pub fn all(self) -> String {
        self.reader.join().expect("the thread is well");
        std::mem::take(&mut self.shown.lock().expect("no panic"))
    }
}
