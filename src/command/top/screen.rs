//! The screen of `dsfs top`. Drawing alone: what is known comes from the model.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::bar::NINE_LEVELS as LEVELS;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::{History, Model};
use crate::client::admin::{Connection, Device, Inner};
use crate::command::figures::{count, micros, name, seconds, size};
use crate::command::rates::Rates;
use crate::command::status::left;

/// Columns of a row before its plot.
const BEFORE_PLOT: usize = 68;

/// Rows that what happened has, its title among them.
const HAPPENED: u16 = 5;

/// The cells of the bar that shows how much of a leg is equal.
const BAR: usize = 12;

/// States that need no attention.
const WELL: [&str; 3] = ["ok", "equal", "in-service"];

/// A plot of the last values, as wide as that: the highest is a full cell.
fn plot(history: Option<&History>, width: usize, of: fn(&Rates) -> f64) -> String {
    let values = || history.into_iter().flatten().map(of);
    let top = values().fold(0.0, f64::max);
    let skipped = values().count().saturating_sub(width);
    let levels = [
        LEVELS.empty,
        LEVELS.one_eighth,
        LEVELS.one_quarter,
        LEVELS.three_eighths,
        LEVELS.half,
        LEVELS.five_eighths,
        LEVELS.three_quarters,
        LEVELS.seven_eighths,
        LEVELS.full,
    ];
    let level = |value: f64| if top > 0.0 { (value / top * 8.0).ceil() as usize } else { 0 };
    values().skip(skipped).map(|value| levels[level(value).min(8)]).collect()
}

fn requests(rates: &Rates) -> f64 {
    rates.requests + rates.writes
}

fn colour(state: &str) -> Style {
    match state {
        state if WELL.contains(&state) => Style::new().fg(Color::Green),
        "resyncing" | "catching-up" => Style::new().fg(Color::Yellow),
        _ => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
    }
}

fn head(text: String) -> Line<'static> {
    Line::styled(text, Style::new().add_modifier(Modifier::REVERSED))
}

/// The name, the state, the five numbers of a row, and the plot in what is left.
fn row(
    (label, state, style): (String, String, Style),
    history: Option<&History>,
    numbers: [String; 4],
    width: usize,
) -> Line<'static> {
    let [first, second, bytes, each] = numbers;
    Line::from(vec![
        Span::raw(format!("{label:<24} ")),
        Span::styled(format!("{state:<11}"), style),
        Span::raw(format!("{first:>7} {second:>8} {bytes:>6} {each:>7} ")),
        Span::styled(
            plot(history, width.saturating_sub(BEFORE_PLOT), requests),
            Style::new().fg(Color::Cyan),
        ),
    ])
}

fn last(history: Option<&History>) -> Rates {
    history.and_then(History::back).cloned().unwrap_or_default()
}

fn device(model: &Model, device: &Device, width: usize) -> Vec<Line<'static>> {
    let history = model.devices.get(&device.name);
    let rates = last(history);
    let label = format!("{} {}", name(&device.name, 17), name(&device.kind, 6));
    let bytes = size((rates.bytes_in + rates.bytes_out) as u64);
    let numbers = [count(rates.requests), count(rates.writes), bytes, micros(rates.latency_us)];
    let state = (label, name(&device.state, 10), colour(&device.state));
    let mut lines = vec![row(state, history, numbers, width)];
    lines.extend(device.inner.iter().filter_map(|inner| leg(model, inner)));
    lines
}

/// A leg that is not as it should be: how much of it is equal.
fn leg(model: &Model, inner: &Inner) -> Option<Line<'static>> {
    let leg = inner.leg.as_ref().filter(|leg| leg.state != "in-service" || leg.stale > 0)?;
    let equal = inner.length.saturating_sub(leg.stale) as f64 / inner.length.max(1) as f64;
    let full = (equal * BAR as f64) as usize;
    let bar = "\u{2588}".repeat(full) + &"\u{2591}".repeat(BAR - full.min(BAR));
    Some(Line::from(vec![
        Span::raw(format!("  {:<18} ", name(&inner.name, 18))),
        Span::styled(format!("{:<12}", name(&leg.state, 11)), colour(&leg.state)),
        Span::raw(format!(
            "{bar} {:.0}%  {}",
            equal * 100.0,
            left(leg.stale, &model.now.stats.server)
        )),
    ]))
}

fn client(model: &Model, client: &Connection, width: usize) -> Line<'static> {
    let history = model.clients.get(&client.number);
    let rates = last(history);
    let bytes = size((rates.bytes_in + rates.bytes_out) as u64);
    let label = name(&client.peer, 24);
    let state = (label, name(&client.user, 10), Style::new());
    let numbers =
        [count(rates.requests), client.pending.to_string(), bytes, micros(rates.latency_us)];
    row(state, history, numbers, width)
}

/// As many groups of lines as fit; what does not is counted.
fn fit(groups: Vec<Vec<Line<'static>>>, room: usize) -> Vec<Line<'static>> {
    let all: usize = groups.iter().map(Vec::len).sum();
    if all <= room {
        return groups.into_iter().flatten().collect();
    }
    let (mut lines, mut left) = (Vec::new(), groups.len());
    for group in groups {
        if lines.len() + group.len() + 1 > room {
            break;
        }
        left -= 1;
        lines.extend(group);
    }
    lines.push(Line::raw(format!("and {left} more")));
    lines
}

fn summary(model: &Model, width: usize) -> Vec<Line<'static>> {
    let server = &model.now.stats.server;
    let rates = last(Some(&model.all));
    let title = format!(
        "dsfs {} at {}, up {}",
        name(&server.version, 16),
        name(&model.addr, 40),
        seconds(server.ms / 1000)
    );
    let rest = width.saturating_sub(title.chars().count());
    let first = match &model.failed {
        None => Line::raw(format!("{title}{:>rest$}", "q quits")),
        Some(why) => Line::styled(name(why, width), colour("lost")),
    };
    let second = Line::raw(format!(
        "clients {}  fids {}  under way {}  jobs {}  in {}/s  out {}/s",
        server.connections,
        server.fids,
        server.pending,
        server.jobs,
        size(rates.bytes_in as u64),
        size(rates.bytes_out as u64)
    ));
    let numbers =
        format!("{} requests/s  {} each  ", count(rates.requests), micros(rates.latency_us));
    let failed = format!("{} failed/s  ", count(rates.failed));
    let room = width.saturating_sub(numbers.len() + failed.len());
    let failing = if rates.failed > 0.0 { colour("failing") } else { Style::new() };
    let third = Line::from(vec![
        Span::raw(numbers),
        Span::styled(failed, failing),
        Span::styled(plot(Some(&model.all), room, requests), Style::new().fg(Color::Cyan)),
    ]);
    vec![first, second, third]
}

/// The devices, those that need attention first, then the busiest, where not all of them fit.
fn devices(model: &Model, room: usize, width: usize) -> Vec<Line<'static>> {
    let mut all: Vec<&Device> = model.now.devices.iter().collect();
    let busy = |device: &Device| requests(&last(model.devices.get(&device.name)));
    if all.len() > room {
        all.sort_by(|a, b| {
            let well = |device: &Device| WELL.contains(&&device.state[..]);
            well(a).cmp(&well(b)).then(busy(b).total_cmp(&busy(a)))
        });
    }
    fit(all.into_iter().map(|one| device(model, one, width)).collect(), room)
}

fn clients(model: &Model, room: usize, width: usize) -> Vec<Line<'static>> {
    let mut all: Vec<&Connection> = model.now.connections.iter().collect();
    let busy = |client: &Connection| requests(&last(model.clients.get(&client.number)));
    if all.len() > room {
        all.sort_by(|a, b| busy(b).total_cmp(&busy(a)));
    }
    fit(all.into_iter().map(|one| vec![client(model, one, width)]).collect(), room)
}

fn put(frame: &mut Frame<'_>, area: Rect, lines: Vec<Line<'static>>) {
    frame.render_widget(Paragraph::new(lines), area);
}

fn heading(names: [&str; 6], width: usize) -> Line<'static> {
    let [label, state, first, second, bytes, each] = names;
    let text = format!("{label:<24} {state:<11}{first:>7} {second:>8} {bytes:>6} {each:>7} ");
    head(format!("{text:<width$}"))
}

/// Draws the model: a summary, the devices, the clients, and what happened.
pub(super) fn draw(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    let width = usize::from(area.width);
    let happened = HAPPENED.min(area.height / 4);
    let middle = usize::from(area.height.saturating_sub(3 + happened));
    // Devices have what they need, but leave the clients a third.
    let wanted: usize = model
        .now
        .devices
        .iter()
        .map(|one| 1 + one.inner.iter().filter(|inner| leg(model, inner).is_some()).count())
        .sum();
    let upper = (wanted + 1).min(middle - middle / 3);
    let [top, above, below, bottom] = Layout::vertical([
        Constraint::Length(3),
        Constraint::Length(upper as u16),
        Constraint::Fill(1),
        Constraint::Length(happened),
    ])
    .areas(area);
    put(frame, top, summary(model, width));
    let head_of = ["device", "state", "reads/s", "writes/s", "bytes", "each"];
    let mut lines = vec![heading(head_of, width)];
    lines.extend(devices(model, upper.saturating_sub(1), width));
    put(frame, above, lines);
    let head_of = ["client", "user", "reqs/s", "pending", "bytes", "each"];
    let mut lines = vec![heading(head_of, width)];
    lines.extend(clients(model, usize::from(below.height).saturating_sub(1), width));
    put(frame, below, lines);
    let mut lines = vec![head(format!("{:<width$}", "what happened"))];
    let room = usize::from(happened.saturating_sub(1));
    let skipped = model.happened.len().saturating_sub(room);
    lines.extend(model.happened.iter().skip(skipped).map(|line| {
        let shown: String = crate::client::Printable(line).to_string();
        Line::raw(shown)
    }));
    put(frame, bottom, lines);
}
