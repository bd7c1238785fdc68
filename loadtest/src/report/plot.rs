//! Plots as SVG: lines over an axis, and named marks. Drawn by plotters; text stays text, in the page's own font.
//!
//! Colours are written so that a page can change them: each tint has its own, and a style sheet finds it by the attribute
//! (`[stroke="#0072B2"]`). Without a style sheet they are right for a white ground.

pub(crate) mod axis;
mod marks;
pub(crate) mod thin;
mod ticked;

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea as _};
use plotters::element::{Circle, PathElement, Text};
use plotters::prelude::SVGBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color as _, IntoFont as _, RGBColor, ShapeStyle, TRANSPARENT, TextStyle};

use crate::report::html::escape::Escaped;
use axis::Axis;
use ticked::Ticked;

/// Plotters counts in whole pixels; so many of them are one pixel here, for curves that are smooth.
const FINE: i32 = 8;
/// Pixels of text.
const TEXT: f64 = 12.0;
/// About the width of one character of it.
const CHARACTER: f64 = TEXT * 0.58;
const GRID: RGBColor = RGBColor(0xE3, 0xE3, 0xE6);
const AXIS: RGBColor = RGBColor(0x8A, 0x8A, 0x90);
const INK: RGBColor = RGBColor(0x4A, 0x4A, 0x50);
const MARK: RGBColor = RGBColor(0x6B, 0x6B, 0x72);

/// A plot could not be drawn.
#[derive(Debug, thiserror::Error)]
#[error("a plot could not be drawn: {0}")]
pub struct PlotError(String);

impl<E: std::error::Error + Send + Sync> From<DrawingAreaErrorKind<E>> for PlotError {
    fn from(error: DrawingAreaErrorKind<E>) -> Self {
        Self(error.to_string())
    }
}

/// A colour, told apart also by those who see few of them, and on paper by dashes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tint {
    /// One of twelve; others begin again.
    Number(usize),
    /// What stands back.
    Grey,
}

impl Tint {
    /// Okabe and Ito's colours, darkened to be seen on white. The last six are the first, one step bluer, and dashed.
    const COLOURS: [(u8, u8, u8); 6] = [
        (0x00, 0x72, 0xB2),
        (0xC8, 0x52, 0x00),
        (0x00, 0x7D, 0x5C),
        (0xA8, 0x48, 0x84),
        (0x8F, 0x68, 0x00),
        (0x3B, 0x3B, 0x98),
    ];

    fn colour(self) -> RGBColor {
        match self {
            Self::Number(number) => {
                let (red, green, blue) = Self::COLOURS.get(number % 6).copied().unwrap_or_default();
                let dashed = u8::from(number / 6 % 2 == 1);
                RGBColor(red, green, blue ^ dashed)
            }
            Self::Grey => RGBColor(0x93, 0x93, 0x9A),
        }
    }

    /// As SVG writes it.
    pub(crate) fn hex(self) -> String {
        let RGBColor(red, green, blue) = self.colour();
        format!("#{red:02X}{green:02X}{blue:02X}")
    }
}

/// One line of values.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// What it is called in the legend.
    pub(crate) name: String,
    /// Its colour.
    pub(crate) tint: Tint,
    /// Its pieces, each in the order of x; between two of them there is nothing.
    pub(crate) pieces: Vec<Vec<(f64, f64)>>,
}

/// A vertical mark with a name.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    /// Where.
    pub(crate) at: f64,
    /// What.
    pub(crate) name: String,
}

/// What is told about a stretch of x to who points at it.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    /// Its begin.
    pub(crate) from: f64,
    /// Its end.
    pub(crate) to: f64,
    /// What is told.
    pub(crate) text: String,
}

/// A plot, apart from its size.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    /// Left to right.
    pub(crate) x: Axis,
    /// Upwards.
    pub(crate) y: Axis,
    /// The first is on top.
    pub(crate) lines: Vec<Line>,
    /// From left to right.
    pub(crate) marks: Vec<Mark>,
    /// From left to right.
    pub(crate) readings: Vec<Reading>,
}

/// How large a plot is, in pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Its width.
    pub(crate) width: u32,
    /// Its height.
    pub(crate) height: u32,
}

impl Frame {
    /// For a screen or paper.
    pub(crate) const WIDE: Self = Self { width: 960, height: 300 };
    /// For a phone.
    pub(crate) const NARROW: Self = Self { width: 344, height: 250 };
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Ticked, Ticked>>;
type Area<'b> = DrawingArea<SVGBackend<'b>, Shift>;

/// Draws a plot. `label` tells who cannot see it what it is.
///
/// # Errors
/// [`PlotError`], where plotters gives up.
pub(crate) fn draw(plot: &Plot, frame: Frame, label: &str) -> Result<String, PlotError> {
    let mut svg = String::new();
    let mut readings = String::new();
    {
        let (width, height) = (frame.width * FINE as u32, frame.height * FINE as u32);
        let area = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        let y_ticks = plot.y.ticks(8);
        let widest = y_ticks.iter().map(|tick| tick.label.chars().count()).max().unwrap_or(1);
        // As wide in every plot of a page where it can be, so that times stand below each other.
        let left = (widest as f64 * CHARACTER + 14.0).max(f64::from(frame.width) * 0.065);
        let right = 14.0;
        let names = mark_names(plot, frame, left, right);
        let rows = names.iter().flatten().map(|name| name.row + 1).max().unwrap_or(0);
        let top = TEXT * 1.9 + rows as f64 * TEXT * 1.25;
        let x_ticks = plot.x.ticks((f64::from(frame.width) / 66.0) as usize);
        let mut chart = ChartBuilder::on(&area)
            .margin_top(fine(top))
            .margin_right(fine(right))
            .margin_bottom(fine(TEXT * 1.3))
            .x_label_area_size(fine(TEXT * 1.8))
            .y_label_area_size(fine(left))
            .build_cartesian_2d(
                Ticked { range: plot.x.range(), ticks: x_ticks },
                Ticked { range: plot.y.range(), ticks: y_ticks },
            )?;
        draw_mesh(&mut chart)?;
        draw_marks(plot, &area, &chart, &names, top)?;
        draw_lines(plot, &mut chart, frame)?;
        text(&area, &plot.y.title(), (4.0, TEXT * 0.2), HPos::Left)?;
        let below = (f64::from(frame.width) - right, f64::from(frame.height) - TEXT * 1.25);
        text(&area, &plot.x.title(), below, HPos::Right)?;
        write_readings(&mut readings, plot, &chart);
        area.present()?;
    }
    Ok(finish(&svg, &readings, frame, label))
}

fn fine(pixels: f64) -> i32 {
    (pixels * f64::from(FINE)).round() as i32
}

fn stroke(colour: RGBColor, pixels: f64) -> ShapeStyle {
    ShapeStyle { color: colour.to_rgba(), filled: false, stroke_width: fine(pixels).unsigned_abs() }
}

fn font() -> TextStyle<'static> {
    // The backend divides what it is told by 1.24.
    ("sans-serif", TEXT * f64::from(FINE) * 1.24).into_font().color(&INK)
}

fn text(area: &Area<'_>, words: &str, (x, y): (f64, f64), anchor: HPos) -> Result<(), PlotError> {
    let style = font().pos(Pos::new(anchor, VPos::Top));
    area.draw(&Text::new(words.to_owned(), (fine(x), fine(y)), style))?;
    Ok(())
}

fn mark_names(plot: &Plot, frame: Frame, left: f64, right: f64) -> Vec<Option<marks::Placed>> {
    let range = plot.x.range();
    let inner = f64::from(frame.width) - left - right;
    let names: Vec<(f64, &str)> = plot
        .marks
        .iter()
        .map(|mark| (left + inner * (mark.at - range.start) / (range.end - range.start), mark.name.as_str()))
        .collect();
    marks::place(&names, f64::from(frame.width), CHARACTER)
}

fn draw_mesh(chart: &mut Chart<'_, '_>) -> Result<(), PlotError> {
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(stroke(GRID, 1.0))
        .axis_style(stroke(AXIS, 1.0))
        .set_all_tick_mark_size(fine(4.0))
        .label_style(font())
        .draw()?;
    Ok(())
}

fn draw_marks(
    plot: &Plot,
    area: &Area<'_>,
    chart: &Chart<'_, '_>,
    names: &[Option<marks::Placed>],
    top: f64,
) -> Result<(), PlotError> {
    let y = plot.y.range();
    for (mark, name) in plot.marks.iter().zip(names) {
        let (x, bottom) = chart.backend_coord(&(mark.at, y.start));
        let row = name.as_ref().map_or(0, |name| name.row);
        let above = fine(top - row as f64 * TEXT * 1.25 - TEXT);
        area.draw(&PathElement::new(vec![(x, above), (x, bottom)], stroke(MARK, 1.2)))?;
        if let Some(name) = name {
            let y = top - (row + 1) as f64 * TEXT * 1.25;
            text(area, &name.text, (name.left, y), HPos::Left)?;
        }
    }
    Ok(())
}

fn draw_lines(plot: &Plot, chart: &mut Chart<'_, '_>, frame: Frame) -> Result<(), PlotError> {
    for line in plot.lines.iter().rev() {
        let pixels = if line.tint == Tint::Grey { 1.2 } else { 1.9 };
        for piece in &line.pieces {
            let points = thin::thin(piece, frame.width as usize / 2);
            match points.as_slice() {
                // A line of one point would not be seen.
                [point] => chart.plotting_area().draw(&Circle::new(
                    *point,
                    fine(2.0),
                    ShapeStyle { filled: true, ..stroke(line.tint.colour(), pixels) },
                ))?,
                _ => chart
                    .plotting_area()
                    .draw(&PathElement::new(points, stroke(line.tint.colour(), pixels)))?,
            }
        }
    }
    Ok(())
}

fn write_readings(to: &mut String, plot: &Plot, chart: &Chart<'_, '_>) {
    let (y, x) = (plot.y.range(), plot.x.range());
    for reading in &plot.readings {
        let (left, bottom) = chart.backend_coord(&(reading.from.max(x.start), y.start));
        let (right, top) = chart.backend_coord(&(reading.to.min(x.end), y.end));
        if right > left {
            to.push_str(&format!(
                "<rect x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{}\" fill=\"none\" pointer-events=\"all\"><title>{}</title></rect>\n",
                right - left,
                bottom - top,
                Escaped(&reading.text)
            ));
        }
    }
}

/// Our own first tag in place of the backend's, with a name, and the readings on top of all.
fn finish(svg: &str, readings: &str, frame: Frame, label: &str) -> String {
    let inside = svg.split_once('>').map_or("", |(_, inside)| inside);
    let inside = inside.trim_end().strip_suffix("</svg>").unwrap_or(inside);
    let (width, height) = (frame.width * FINE as u32, frame.height * FINE as u32);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"{label}\"><title>{label}</title>{inside}<g class=\"read\">\n{readings}</g></svg>",
        label = Escaped(label)
    )
}
