//! A chart of bars, drawn as SVG: many small panels, each with a scale of its own that begins at
//! zero. It is readable on light and dark ground, and needs no script and no font of its own.
//!
//! ```text
//!    title
//!    subtitle
//!    legend
//!    .--------------.  .--------------.  .--------------.
//!    | panel        |  | panel        |  | panel        |
//!    | name [====]-3|  |              |  |              |     [====] median
//!    | name [==]- 2 |  |              |  |              |     -      least to most
//!    '--------------'  '--------------'  '--------------'
//!    notes
//! ```

use std::fmt::Write;

/// All that is drawn.
#[derive(Debug, Default)]
pub(crate) struct Chart {
    pub(crate) title: String,
    /// Lines below the title.
    pub(crate) subtitle: Vec<String>,
    /// What the colours mean.
    pub(crate) legend: Vec<(Manner, String)>,
    pub(crate) panels: Vec<Panel>,
    /// Lines below.
    pub(crate) notes: Vec<String>,
}

/// Bars on one scale.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    pub(crate) bars: Vec<Bar>,
}

#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) value: f64,
    /// The least and the most that was seen.
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// The value as it is written.
    pub(crate) text: String,
    pub(crate) manner: Manner,
}

/// How a bar looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// What the chart is about.
    Own,
    /// What it is compared with.
    Other,
    /// What else there is to measure by.
    Reference,
}

impl Manner {
    fn class(self) -> &'static str {
        match self {
            Manner::Own => "own",
            Manner::Other => "other",
            Manner::Reference => "reference",
        }
    }
}

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 28.0;
const COLUMNS: usize = 3;
const GAP: f64 = 28.0;
const PANEL_WIDTH: f64 = (WIDTH - 2.0 * MARGIN - 2.0 * GAP) / COLUMNS as f64;
/// From the top of a panel to its first bar, and from its last bar to the next panel.
const PANEL_HEAD: f64 = 44.0;
const PANEL_FOOT: f64 = 22.0;
const BAR_PITCH: f64 = 16.0;
const BAR_HEIGHT: f64 = 10.0;
const LEGEND_SIZE: f64 = 9.0;
/// Where bars begin in a panel, and how long the longest may be.
const BAR_LEFT: f64 = 94.0;
const BAR_LENGTH: f64 = PANEL_WIDTH - BAR_LEFT - 58.0;
const LINE_PITCH: f64 = 17.0;

/// Colours for light ground, and for dark where the reader prefers that.
const STYLE: &str = "\
text { font-family: system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif; \
font-size: 11px; fill: #24292f }
.ground { fill: #ffffff }
.title { font-size: 19px; font-weight: 600 }
.panel { font-size: 13px; font-weight: 600 }
.quiet { fill: #59636e }
.strong { font-weight: 600 }
.own { fill: #0b65c2 }
.other { fill: #aeb8c2 }
.reference { fill: #7fb89a }
.line { stroke: #59636e; stroke-width: 1 }
.axis { stroke: #d0d7de; stroke-width: 1 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.ground { fill: #0d1117 }
.quiet { fill: #9198a1 }
.own { fill: #58a6ff }
.other { fill: #545d68 }
.reference { fill: #3c7d5d }
.line { stroke: #9198a1 }
.axis { stroke: #30363d }
}
";

/// The chart as an SVG document.
pub(crate) fn draw(chart: &Chart) -> String {
    let mut body = String::new();
    text(&mut body, (MARGIN, 42.0), "title", &chart.title);
    let mut top = 64.0;
    draw_lines(&mut body, &mut top, &chart.subtitle);
    draw_legend(&mut body, top + 6.0, &chart.legend);
    top += 28.0;
    for row in chart.panels.chunks(COLUMNS) {
        for (column, panel) in row.iter().enumerate() {
            let left = MARGIN + column as f64 * (PANEL_WIDTH + GAP);
            draw_panel(&mut body, left, top, panel);
        }
        let bars = row.iter().map(|panel| panel.bars.len()).max().unwrap_or_default();
        top += PANEL_HEAD + bars as f64 * BAR_PITCH + PANEL_FOOT;
    }
    top += 6.0;
    draw_lines(&mut body, &mut top, &chart.notes);
    let height = top + 8.0;
    let title = escaped(&chart.title);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{title}\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n\
         <rect class=\"ground\" width=\"100%\" height=\"100%\"/>\n{body}</svg>\n"
    )
}

fn draw_lines(body: &mut String, top: &mut f64, lines: &[String]) {
    for line in lines {
        text(body, (MARGIN, *top), "quiet", line);
        *top += LINE_PITCH;
    }
}

fn draw_legend(body: &mut String, base: f64, legend: &[(Manner, String)]) {
    let mut left = MARGIN;
    for (manner, words) in legend {
        rectangle(body, (left, base - 9.0), (LEGEND_SIZE, LEGEND_SIZE), manner.class());
        text(body, (left + 16.0, base), "quiet", words);
        // Letters are about so wide; there is no font to ask.
        left += 40.0 + 6.2 * words.chars().count() as f64;
    }
}

fn draw_panel(body: &mut String, left: f64, top: f64, panel: &Panel) {
    text(body, (left, top + 14.0), "panel", &panel.title);
    text(body, (left, top + 30.0), "quiet", &panel.subtitle);
    let most = panel.bars.iter().map(|bar| bar.value.max(bar.high)).fold(0.0, f64::max);
    let length = |value: f64| if most > 0.0 { value / most * BAR_LENGTH } else { 0.0 };
    let start = left + BAR_LEFT;
    for (index, bar) in panel.bars.iter().enumerate() {
        let middle = top + PANEL_HEAD + (index as f64 + 0.5) * BAR_PITCH;
        let strong = if bar.manner == Manner::Own { "strong" } else { "" };
        text(body, (left, middle + 4.0), strong, &bar.name);
        let corner = (start, middle - BAR_HEIGHT / 2.0);
        rectangle(body, corner, (length(bar.value).max(1.0), BAR_HEIGHT), bar.manner.class());
        let (low, high) = (start + length(bar.low), start + length(bar.high));
        if high - low >= 1.0 {
            line(body, "line", (low, middle), (high, middle));
        }
        let end = high.max(start + length(bar.value)) + 5.0;
        text(body, (end, middle + 4.0), strong, &bar.text);
    }
    let bottom = top + PANEL_HEAD + panel.bars.len() as f64 * BAR_PITCH;
    line(body, "axis", (start - 0.5, top + PANEL_HEAD), (start - 0.5, bottom));
}

fn text(body: &mut String, (x, y): (f64, f64), class: &str, words: &str) {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    put(body, format_args!("<text x=\"{x:.1}\" y=\"{y:.1}\"{class}>{}</text>\n", escaped(words)));
}

fn rectangle(body: &mut String, (x, y): (f64, f64), (width, height): (f64, f64), class: &str) {
    put(
        body,
        format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
             height=\"{height:.1}\" rx=\"1\"/>\n"
        ),
    );
}

fn line(body: &mut String, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    put(
        body,
        format_args!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" \
             x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n"
        ),
    );
}

fn put(body: &mut String, words: std::fmt::Arguments<'_>) {
    // Writing to a string never fails.
    let _ = body.write_fmt(words);
}

/// `text` within an element or an attribute of XML.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(name: &str, value: f64, manner: Manner) -> Bar {
        let text = format!("{value} <ns>");
        Bar { name: name.into(), value, low: value / 2.0, high: value * 2.0, text, manner }
    }

    fn example() -> Chart {
        let bars = || vec![bar("own", 10.0, Manner::Own), bar("a & b", 40.0, Manner::Other)];
        let panel = |title: &str| Panel {
            title: title.into(),
            subtitle: "\"quoted\"".into(),
            bars: bars(),
        };
        Chart {
            title: "a < b".into(),
            subtitle: vec!["then & there".into()],
            legend: vec![(Manner::Own, "ours".into())],
            panels: ["one", "two", "three", "four"].map(panel).into(),
            notes: vec!["a note".into()],
        }
    }

    /// Every element that is opened is closed, in order, and nothing stands outside of one root.
    fn assert_well_formed(document: &str) {
        let mut open: Vec<&str> = Vec::new();
        let mut roots = 0;
        for part in document.split('<').skip(1) {
            let (tag, content) = part.split_once('>').expect("a tag ends");
            assert!(!content.contains('>') && tag.matches('"').count() % 2 == 0, "<{part}");
            let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name));
            } else {
                roots += usize::from(open.is_empty());
                if !tag.ends_with('/') {
                    open.push(name);
                }
            }
            let entities = content.split('&').skip(1);
            assert!(entities.into_iter().all(|rest| rest.contains(';')), "{content}");
        }
        assert_eq!((open, roots), (vec![], 1));
    }

    #[test]
    fn the_document_is_well_formed_whatever_the_names_are() {
        assert_well_formed(&draw(&example()));
        assert_well_formed(&draw(&Chart::default()));
    }

    #[test]
    #[should_panic = "assertion"]
    fn a_document_that_is_not_well_formed_is_found() {
        assert_well_formed(&draw(&example()).replace("</text>", ""));
    }

    #[test]
    fn bars_are_as_long_as_their_values_and_stay_within_their_panel() {
        let drawn = draw(&example());
        let widths: Vec<f64> = drawn
            .lines()
            .filter(|line| line.contains("height=\"10.0\" rx"))
            .map(|line| {
                let width = line.split("width=\"").nth(1).unwrap().split('"').next().unwrap();
                width.parse().unwrap()
            })
            .collect();
        assert_eq!(widths.len(), 8);
        assert!((widths[1] / widths[0] - 4.0).abs() < 0.05, "{widths:?}");
        // The longest line is twice as long as its bar.
        assert!((widths[1] * 2.0 - BAR_LENGTH).abs() < 0.1, "{widths:?}");
    }

    #[test]
    fn nothing_measured_draws_no_broken_numbers() {
        let bars = vec![Bar { low: 0.0, high: 0.0, ..bar("zero", 0.0, Manner::Reference) }];
        let panel = Panel { title: String::new(), subtitle: String::new(), bars };
        let drawn = draw(&Chart { panels: vec![panel], ..Chart::default() });
        assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
    }
}
