//! The picture of a comparison: the processor time of each program in each case.

use crate::cases::{AGAIN, BY_HAND, CASES, Case, Kind, OWN};
use crate::chart::{Bar, Chart, Manner, Panel, draw};
use crate::compare::CPU;
use crate::figures::{Figures, Row};
use crate::table::three_digits;

/// The picture as an SVG document.
pub(crate) fn of(figures: &Figures) -> String {
    // What is left to the scheduler's mood is in the figures, but would mislead in a picture.
    let is_steady = |case: &&Case| !matches!(case.kind, Kind::Micro { pinned: false, .. });
    let panels = CASES.iter().filter(is_steady).map(|case| Panel {
        title: case.name.to_string(),
        subtitle: case.operation.to_string(),
        bars: figures.rows.iter().filter(|row| row.case == case.name).filter_map(bar).collect(),
    });
    let fact = |name| figures.fact(name).unwrap_or("unknown");
    let chart = Chart {
        title: "Processor time an operation: shorter is better".to_string(),
        subtitle: vec![
            ["date", "kernel", "processor", "compiler"].map(fact).join(" · "),
            fact("versions").to_string(),
        ],
        legend: vec![
            (Manner::Own, OWN.to_string()),
            (Manner::Other, "other runtimes".to_string()),
            (Manner::Reference, "loops written by hand: on mio, and on epoll alone".to_string()),
        ],
        panels: panels.filter(|panel| !panel.bars.is_empty()).collect(),
        notes: vec![
            "User and system time, of the server alone where there are clients. Each case has a \
             scale of its own."
                .to_string(),
            format!("Medians of {} rounds; lines from the least to the most.", fact("rounds")),
        ],
    };
    draw(&chart)
}

fn bar(row: &Row) -> Option<Bar> {
    if row.figure != CPU || row.program == AGAIN {
        return None;
    }
    let manner = match &row.program[..] {
        OWN => Manner::Own,
        program if BY_HAND.contains(&program) => Manner::Reference,
        _ => Manner::Other,
    };
    let (value, low, high) = (row.median, row.low, row.high);
    Some(Bar { name: row.program.clone(), value, low, high, text: time(value), manner })
}

/// A time in the unit that suits it.
fn time(ns: f64) -> String {
    match ns {
        ns if ns < 999.5 => format!("{} ns", three_digits(ns)),
        ns if ns < 999_500.0 => format!("{} µs", three_digits(ns / 1e3)),
        ns => format!("{} ms", three_digits(ns / 1e6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_the_unit_that_suits_them() {
        assert_eq!(
            [9.87, 999.4, 999.6, 12_345.0, 2e6].map(time),
            ["9.87 ns", "999 ns", "1.00 µs", "12.3 µs", "2.00 ms"]
        );
    }

    #[test]
    fn a_picture_shows_each_program_that_has_the_case() {
        let row = |program: &str, figure: &str| Row {
            case: "spawn".into(),
            program: program.into(),
            figure: figure.into(),
            median: 12.0,
            low: 11.0,
            high: 14.0,
            ratio: None,
        };
        let rows = vec![row(OWN, CPU), row(OWN, "rss_kb"), row("raw", CPU), row(AGAIN, CPU)];
        let facts = vec![("kernel".to_string(), "Linux 9.9".to_string())];
        let drawn = of(&Figures { facts, rows });
        assert_eq!(drawn.matches(">12.0 ns<").count(), 2);
        assert!(drawn.contains(">raw<") && drawn.contains("Linux 9.9"));
        assert!(!drawn.contains(AGAIN) && !drawn.contains("echo-1"));
    }
}
