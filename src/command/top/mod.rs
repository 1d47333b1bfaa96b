//! `dsfs top`: what a server does, as it does it. The model and the loop are here, the drawing in
//! `screen`.
//!
//! It asks for three small texts once a second, and for the log when that has grown, so that looking
//! costs the server next to nothing.

mod screen;

use std::collections::{HashMap, VecDeque};
use std::io::{self, IsTerminal, Write};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Error;
use super::rates::{self, Look, Rates};
use super::remote::Server;
use crate::client::admin::Admin;

/// Show what a server does, live.
///
/// Rates and latencies of its devices and clients, what is being made equal, and errors as they come.
/// q ends it.
#[derive(Debug, Args)]
pub struct Options {
    /// How often to look, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=3600))]
    seconds: u16,
    /// Print one screen of 80 columns and 24 rows, and end
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    server: Server,
}

/// The size of a screen that is printed.
const COLUMNS: u16 = 80;
const ROWS: u16 = 24;

/// How often to look whether the terminal is still there, where the kernel does not say so by itself.
const STILL_THERE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// Looks that a plot has room for.
const PLOTTED: usize = 60;

/// Lines about what happened that are kept: more than any screen shows.
const HAPPENED: usize = 100;

/// The last rates of something, the oldest first.
type History = VecDeque<Rates>;

/// What is on the screen.
#[derive(Debug, Default)]
struct Model {
    addr: String,
    now: Look,
    all: History,
    devices: HashMap<String, History>,
    clients: HashMap<u64, History>,
    happened: VecDeque<String>,
    /// The last line of the server's log that has been seen, and how long the log was then.
    log: (String, u64),
    /// Why there is nothing new.
    failed: Option<String>,
}

fn remember(history: &mut History, rates: Rates) {
    if history.len() >= PLOTTED {
        history.pop_front();
    }
    history.push_back(rates);
}

impl Model {
    /// Looks again.
    fn look(&mut self, admin: &mut Admin) -> Result<(), Error> {
        let now = Look::at(admin)?;
        let first = self.now.stats.server.version.is_empty();
        let before = if first { now.clone() } else { std::mem::take(&mut self.now) };
        if !first {
            self.compare(&before, &now);
        }
        if now.stats.server.log != self.log.1 {
            let text = admin.log()?;
            let seen = match &self.log.0 {
                last if last.is_empty() => 0,
                last => text.rfind(last).map_or(0, |at| at + last.len()),
            };
            text[seen..].lines().filter(|line| !line.is_empty()).for_each(|line| self.tell(line));
            let last = text.lines().last().unwrap_or_default();
            self.log = (last.into(), now.stats.server.log);
        }
        self.now = now;
        self.failed = None;
        Ok(())
    }

    fn compare(&mut self, before: &Look, now: &Look) {
        remember(&mut self.all, rates::of_all(before, now));
        self.devices.retain(|name, _| now.devices.iter().any(|device| device.name == *name));
        for device in &now.devices {
            let rates = rates::of_device(before, now, &device.name);
            remember(self.devices.entry(device.name.clone()).or_default(), rates);
            let failed = |look: &Look| look.work(&device.name).map_or(0, |work| work.failed);
            let more = failed(now).saturating_sub(failed(before));
            if more > 0 {
                self.tell(&format!("{}: {more} reads or writes failed", device.name));
            }
        }
        self.clients.retain(|number, _| now.connections.iter().any(|c| c.number == *number));
        for client in &now.connections {
            let rates = rates::of_connection(before, now, client);
            remember(self.clients.entry(client.number).or_default(), rates);
        }
    }

    fn tell(&mut self, line: &str) {
        if self.happened.len() >= HAPPENED {
            self.happened.pop_front();
        }
        self.happened.push_back(line.into());
    }
}

/// Whether a key ends it.
fn ends(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let interrupt = key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c');
    key.kind == KeyEventKind::Press
        && (interrupt || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc))
}

/// Ends the program when its terminal has gone. Mostly a SIGHUP does that, but not for who ignores it
/// (`nohup`) or is in no session of the terminal; and waiting for keys there would be reading the end of
/// input over and over, in a library that does not come back from it.
fn end_with_terminal() {
    thread::spawn(|| {
        let stdout = io::stdout();
        // Nothing is waited for: that it is hung up is told anyway.
        let mut terminal = [PollFd::new(&stdout, PollFlags::empty())];
        while let Ok(0) | Err(Errno::INTR) = poll(&mut terminal, Some(&STILL_THERE)) {}
        process::exit(1);
    });
}

impl Options {
    /// Looks and draws, until a key ends it or the terminal has gone.
    ///
    /// # Errors
    /// If there is no server, or it has no admin tree, or standard output is no terminal.
    pub fn run(self, out: &mut dyn Write) -> Result<(), Error> {
        let mut admin = self.server.admin()?;
        let mut model = Model { addr: admin.addr().to_string(), ..Model::default() };
        model.look(&mut admin)?;
        if self.once {
            thread::sleep(Duration::from_secs(self.seconds.into()));
            model.look(&mut admin)?;
            return out.write_all(printed(&model).as_bytes()).map_err(Error::Output);
        }
        if !io::stdout().is_terminal() {
            return Err(Error::NoTerminal);
        }
        end_with_terminal();
        let mut terminal = ratatui::try_init().map_err(Error::Output)?;
        let shown = self.show(&mut terminal, &mut model, admin);
        ratatui::restore();
        shown
    }

    fn look_again(&self, model: &mut Model, admin: &mut Option<Admin>) -> Result<(), Error> {
        if admin.is_none() {
            *admin = Some(self.server.admin()?);
            // Another server may be there now, which counts from 0.
            model.now = Look::default();
        }
        admin.as_mut().map_or(Ok(()), |admin| model.look(admin))
    }

    fn show(
        &self,
        terminal: &mut ratatui::DefaultTerminal,
        model: &mut Model,
        admin: Admin,
    ) -> Result<(), Error> {
        let between = Duration::from_secs(self.seconds.into());
        let mut admin = Some(admin);
        let mut next = Instant::now() + between;
        loop {
            terminal.draw(|frame| screen::draw(model, frame)).map_err(Error::Output)?;
            if event::poll(next.saturating_duration_since(Instant::now())).map_err(Error::Input)? {
                if ends(&event::read().map_err(Error::Input)?) {
                    return Ok(());
                }
                continue;
            }
            next = Instant::now() + between;
            let looked = self.look_again(model, &mut admin);
            if let Err(error) = looked {
                // It may come back, and what was last seen is worth having.
                admin = None;
                model.failed = Some(error.to_string());
            }
        }
    }
}

/// The screen as lines of text.
fn printed(model: &Model) -> String {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(COLUMNS, ROWS));
    let Ok(frame) = terminal.draw(|frame| screen::draw(model, frame));
    let rows = frame.buffer.content.chunks(usize::from(COLUMNS));
    let line = |row: &[ratatui::buffer::Cell]| {
        let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned() + "\n"
    };
    rows.map(line).collect()
}

#[cfg(test)]
mod tests;
