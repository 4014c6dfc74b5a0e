//! What the clients took, drawn.

use super::rows::{Row, Spread, Took, cpu_us, peak_kb, switches, wall_ms};
use crate::chart::{Bar, Chart, Manner, Panel, draw as draw_chart};
use crate::table::three_digits;

/// The chart of all rows, as an SVG document.
pub(super) fn draw(rows: &[Row]) -> String {
    let exactly = |value: f64| Spread { low: value, median: value, high: value };
    let panels = vec![
        panel(rows, "at-once", "Memory", "bytes a request that waits", |row, took| {
            Some(exactly(took.waiting_bytes(row.requests)))
        }),
        panel(rows, "at-once", "Threads", "for 1,000 requests at once", |_, took| {
            Some(exactly(took.spread(|seen| seen.threads as f64).high))
        }),
        panel(rows, "at-once", "Time, at once", "ms; the answers take 500", |_, took| {
            Some(took.spread(wall_ms))
        }),
        panel(rows, "in-sequence", "Processor time", "µs a short request", |row, took| {
            Some(took.spread(|seen| cpu_us(seen) / row.requests as f64))
        }),
        panel(
            rows,
            "in-sequence",
            "Time, in sequence",
            "µs a request, 50 at a time",
            |row, took| Some(took.spread(|seen| wall_ms(seen) * 1e3 / row.requests as f64)),
        ),
        panel(rows, "in-sequence", "System calls", "a short request", |_, took| {
            took.traced.as_ref().map(|traced| exactly(traced.sum()))
        }),
        panel(rows, "in-sequence", "Waits", "voluntary switches a request", |row, took| {
            Some(took.spread(|seen| switches(seen) / row.requests as f64))
        }),
        panel(rows, "at-once", "Peak memory", "KiB resident, at once", |_, took| {
            Some(took.spread(peak_kb))
        }),
        panel(rows, "at-once", "Length", "lines of code of the client", |row, _| {
            row.lines.map(|lines| exactly(lines as f64))
        }),
    ];
    let chart = Chart {
        title: "The same client in every style".to_string(),
        subtitle: vec![
            "At once: 1,000 requests that are answered after 500 ms. In sequence: 20,000 that are \
             answered at once, 50 at a time."
                .to_string(),
            "Each request has a connection of its own. Less is better; bars are medians, lines \
             span the least and the most."
                .to_string(),
        ],
        legend: vec![
            (Manner::Own, "on the runtime".to_string()),
            (Manner::Reference, "without it".to_string()),
        ],
        panels,
        notes: std::iter::once(
            "Times depend on the machine, and on what else it does: the server is on it too."
                .to_string(),
        )
        .chain(missing(rows))
        .collect(),
    };
    draw_chart(&chart)
}

fn panel(
    rows: &[Row],
    work: &str,
    title: &str,
    subtitle: &str,
    value: impl Fn(&Row, &Took) -> Option<Spread>,
) -> Panel {
    let bar = |row: &Row| {
        let spread = value(row, row.took.as_ref().ok()?)?;
        Some(Bar {
            name: row.style.to_string(),
            value: spread.median,
            low: spread.low,
            high: spread.high,
            text: match spread.median.fract() == 0.0 {
                true => format!("{:.0}", spread.median),
                false => three_digits(spread.median),
            },
            manner: match row.style {
                "threads" | "epoll" => Manner::Reference,
                _ => Manner::Own,
            },
        })
    };
    let bars = rows.iter().filter(|row| row.work == work).filter_map(bar).collect();
    Panel { title: title.to_string(), subtitle: subtitle.to_string(), bars }
}

/// What could not be measured, and why.
fn missing(rows: &[Row]) -> Vec<String> {
    let note = |row: &Row| {
        let why = row.took.as_ref().err()?;
        Some(format!("{}, {}: {why}", row.style, row.work))
    };
    rows.iter().filter_map(note).collect()
}
