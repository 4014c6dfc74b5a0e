//! Figures, and the file of text that keeps them.
//!
//! A line `# NAME<tab>VALUE` is a fact of the run; one heading follows, and a line for each figure.

use crate::Failure;

/// What a comparison came to.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Figures {
    /// Of the run: its date, the kernel, versions.
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) rows: Vec<Row>,
}

/// One figure of one program in one case, over all rounds.
#[derive(Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) program: String,
    /// What was measured, with its unit.
    pub(crate) figure: String,
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Ours over this program's, the median of the rounds.
    pub(crate) ratio: Option<f64>,
}

const HEADING: &str = "case\tprogram\tfigure\tmedian\tlow\thigh\tratio";

impl Figures {
    pub(crate) fn fact(&self, wanted: &str) -> Option<&str> {
        self.facts.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    /// A row, if there was such a figure.
    pub(crate) fn row(&self, case: &str, program: &str, figure: &str) -> Option<&Row> {
        let is_it = |row: &&Row| row.case == case && row.program == program && row.figure == figure;
        self.rows.iter().find(is_it)
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.facts {
            text += &format!("# {name}\t{value}\n");
        }
        text += HEADING;
        text.push('\n');
        for row in &self.rows {
            let Row { case, program, figure, median, low, high, ratio } = row;
            let ratio = ratio.map_or("-".to_string(), |ratio| format!("{ratio:.3}"));
            text += &format!(
                "{case}\t{program}\t{figure}\t{median:.3}\t{low:.3}\t{high:.3}\t{ratio}\n"
            );
        }
        text
    }

    /// Reads what `to_text` wrote.
    pub(crate) fn from_text(text: &str) -> Result<Figures, Failure> {
        let mut figures = Figures::default();
        for line in text.lines().filter(|line| *line != HEADING) {
            if let Some(fact) = line.strip_prefix("# ") {
                let (name, value) = fact.split_once('\t').ok_or("a fact has no value")?;
                figures.facts.push((name.to_string(), value.to_string()));
            } else {
                let row = row(line).ok_or_else(|| format!("{line:?} is no line of figures"))?;
                figures.rows.push(row);
            }
        }
        Ok(figures)
    }
}

fn row(line: &str) -> Option<Row> {
    let columns: Vec<&str> = line.split('\t').collect();
    let [case, program, figure, median, low, high, ratio] = columns[..] else { return None };
    Some(Row {
        case: case.to_string(),
        program: program.to_string(),
        figure: figure.to_string(),
        median: median.parse().ok()?,
        low: low.parse().ok()?,
        high: high.parse().ok()?,
        ratio: if ratio == "-" { None } else { Some(ratio.parse().ok()?) },
    })
}

/// The median; of an even number the mean of the two in the middle. None of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_back_from_their_text() {
        let row = |program: &str, ratio| Row {
            case: "spawn".into(),
            program: program.into(),
            figure: "cpu_ns".into(),
            median: 12.5,
            low: 11.0,
            high: 14.25,
            ratio,
        };
        let figures = Figures {
            facts: vec![("date".into(), "a day".into())],
            rows: vec![row("ours", None), row("theirs", Some(0.5))],
        };
        let read = Figures::from_text(&figures.to_text()).unwrap();
        assert_eq!(read, figures);
        assert_eq!((read.fact("date"), read.fact("time")), (Some("a day"), None));
        assert_eq!(read.row("spawn", "theirs", "cpu_ns").map(|row| row.ratio), Some(Some(0.5)));
        assert!(Figures::from_text("spawn\tours\tcpu_ns\tmany\t1\t1\t-\n").is_err());
        assert!(Figures::from_text("spawn\n").is_err());
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }
}
