//! The example as a picture: P95 of each pool step by step, and the article's table beside it.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::fitted::POOLS;
use super::{Article, Seen};
use crate::error::SimulateError;

const SIZE: (u32, u32) = (1080, 420);
/// The table begins here.
const TABLE: u32 = 640;
const INK: RGBColor = RGBColor(0x3A, 0x3A, 0x40);
const GRID: RGBColor = RGBColor(0xE3, 0xE3, 0xE6);
const COLOURS: [RGBColor; 4] = [
    RGBColor(0x00, 0x7D, 0x5C),
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0x8F, 0x68, 0x00),
    RGBColor(0xC8, 0x52, 0x00),
];

fn failed(error: impl std::fmt::Display) -> SimulateError {
    SimulateError::Plot(error.to_string())
}

fn text(size: f64) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

impl Article {
    /// The picture, as SVG.
    ///
    /// # Errors
    ///
    /// Where it cannot be drawn.
    pub fn svg(&self) -> Result<String, SimulateError> {
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
            root.fill(&WHITE).map_err(failed)?;
            let (chart, table) = root.split_horizontally(TABLE);
            self.chart(&chart)?;
            self.table(&table)?;
            root.present().map_err(failed)?;
        }
        Ok(svg)
    }

    fn chart(&self, area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>) -> Result<(), SimulateError> {
        let steps = self.steps.len();
        let mut chart = ChartBuilder::on(area)
            .caption("Hot-node P95, % of a node's CPU", text(15.0))
            .margin(14)
            .x_label_area_size(34)
            .y_label_area_size(36)
            .build_cartesian_2d(-0.25..steps as f64 - 0.5, 15.0..55.0)
            .map_err(failed)?;
        let name = |x: &f64| {
            let near = (x - x.round()).abs() < 1e-6 && *x >= 0.0;
            let step = near.then(|| self.steps.get(x.round() as usize)).flatten();
            step.map_or(String::new(), |step| step.name.clone())
        };
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_labels(2 * steps)
            .x_label_formatter(&name)
            .y_label_formatter(&|y| format!("{y:.0}"))
            .label_style(text(12.0))
            .draw()
            .map_err(failed)?;
        for (at, (fit, colour)) in POOLS.iter().zip(COLOURS).enumerate() {
            let points = self.steps.iter().enumerate().map(|(x, step)| (x as f64, step.pools[at].p95));
            chart
                .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))
                .map_err(failed)?
                .label(fit.name())
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2)));
            chart.draw_series(points.map(|point| Circle::new(point, 3, colour.filled()))).map_err(failed)?;
            let wanted = fit.before * (1.0 + fit.change / 100.0);
            let end = (steps as f64 - 1.0 + 0.2, wanted);
            chart.draw_series([Cross::new(end, 5, colour.stroke_width(2))]).map_err(failed)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .border_style(GRID)
            .label_font(text(12.0))
            .draw()
            .map_err(failed)
    }

    fn table(&self, area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>) -> Result<(), SimulateError> {
        let (Some(before), Some(after)) = (self.steps.first(), self.steps.last()) else { return Ok(()) };
        let columns = [0, 110, 172, 300, 384];
        let mut rows = vec![["pool", "article", "here: P95", "article", "here: Max"].map(str::to_owned)];
        for (at, fit) in POOLS.iter().enumerate() {
            let (before, after): (Seen, Seen) = (before.pools[at], after.pools[at]);
            rows.push([
                fit.name().into(),
                format!("{:+.0} %", fit.change),
                format!(
                    "{:.1} → {:.1} ({:+.0} %)",
                    before.p95,
                    after.p95,
                    (after.p95 / before.p95 - 1.0) * 100.0
                ),
                fit.max_goal().0.into(),
                format!("{:.0} → {:.0}", before.max, after.max),
            ]);
        }
        for (row, cells) in rows.iter().enumerate() {
            let y = 90 + 30 * row as i32;
            for (x, cell) in columns.iter().zip(cells) {
                area.draw(&Text::new(cell.as_str(), (*x, y), text(12.0))).map_err(failed)?;
            }
            area.draw(&PathElement::new(vec![(0, y + 20), (430, y + 20)], GRID)).map_err(failed)?;
        }
        let notes = [
            format!("Means over {} seeds, each step in a window of its own.", self.seeds),
            "Crosses: the article's result, from the value before.".to_owned(),
            "Given: A dataproxy 43 → 28.5, the changes, the maxima of A.".to_owned(),
            "Fitted: everything else, see docs/simulation.md.".to_owned(),
        ];
        for (row, note) in notes.iter().enumerate() {
            let style = text(12.0).pos(Pos::new(HPos::Left, VPos::Top));
            area.draw(&Text::new(note.as_str(), (0, 260 + 20 * row as i32), style)).map_err(failed)?;
        }
        Ok(())
    }
}
