//! A server that serves nobody, to look at the mirrors of a state directory (`dsfs check`).

use std::io;

use super::Server;

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    /// The devices and their legs, as the admin tree's `status` has them.
    pub status: String,
    /// What the comparison of the legs said, a line each.
    pub found: String,
    /// Whether every leg is in service and equal to the others, and nothing is marked.
    pub sound: bool,
}

impl Server {
    /// Compares the legs in service of every mirror; with `repair`, what is marked or stale is made
    /// equal before that. Without, nothing is changed.
    ///
    /// # Errors
    /// If the kernel refuses to wait for events.
    pub fn check(&mut self, repair: bool) -> io::Result<Checked> {
        if repair {
            self.mend(true);
            while !self.world.is_mended() {
                self.turn(&mut |_, _| {})?;
            }
        }
        self.mend(false);
        let status = self.world.status();
        let before = self.world.happened().len();
        self.world.verify_all();
        while self.world.is_verifying() {
            self.turn(&mut |_, _| {})?;
        }
        let lines = self.world.happened()[before..].lines();
        let found: Vec<&str> = lines.filter_map(|line| Some(line.split_once(' ')?.1)).collect();
        let sound = self.world.is_sound();
        let found = found.iter().map(|line| format!("{line}\n")).collect();
        Ok(Checked { status, found, sound })
    }
}
