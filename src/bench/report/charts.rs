//! Plots as SVG, for light and for dark pages, and for narrow ones.
//!
//! Colours are names here: `#000001` is the text, `#000002` the grid, `#0000F0` and so on are the
//! servers. The page's style sheet says what they look like, so one drawing serves both themes.
//! Servers differ in shape as well as in colour.

use super::document::{Cell, Memory, Run, ServerResult};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;

/// Width of a plot, in its own units: near what a phone has, so that text is readable there.
const WIDTH: u32 = 400;
const HEIGHT: u32 = 270;
/// Width for each category where there are many; such a plot may be wider than a phone.
const CATEGORY_WIDTH: u32 = 74;
/// Categories from which a plot is wide.
pub const WIDE_FROM: usize = 6;
/// Colours that the style sheet has for servers; further ones begin anew.
pub const SERIES: usize = 8;
/// Ratio of the largest to the smallest value from which an axis is logarithmic.
const LOG_FROM: f64 = 8.0;

const INK: RGBColor = RGBColor(0, 0, 1);
const GRID: RGBColor = RGBColor(0, 0, 2);

fn series(index: usize) -> RGBColor {
    RGBColor(0, 0, 0xF0 + (index % SERIES) as u8)
}

/// An axis: how values become places, and where it has marks.
struct Axis {
    log: bool,
    from: f64,
    to: f64,
    marks: Vec<f64>,
}

impl Axis {
    /// For values between `min` and `max`, both above 0.
    fn around(min: f64, max: f64) -> Axis {
        if max / min < LOG_FROM {
            let step = nice_step(max * 1.08 / 5.0);
            let to = (max * 1.08 / step).ceil() * step;
            let marks = (0..=(to / step) as usize).map(|mark| mark as f64 * step).collect();
            return Axis { log: false, from: 0.0, to, marks };
        }
        let (from, to) = (min.log10() - 0.05, max.log10() + 0.05);
        let factors: &[f64] = if to - from > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
        let decades = from.floor() as i32..=to.ceil() as i32;
        let marks =
            decades.flat_map(|decade| factors.iter().map(move |f| f.log10() + f64::from(decade)));
        Axis { log: true, from, to, marks: marks.filter(|m| (from..=to).contains(m)).collect() }
    }

    fn place(&self, value: f64) -> f64 {
        if self.log { value.max(f64::MIN_POSITIVE).log10() } else { value }
    }

    fn value(&self, place: f64) -> f64 {
        if self.log { 10f64.powf(place) } else { place }
    }
}

/// 1, 2 or 5 times a power of ten, at least `step`.
fn nice_step(step: f64) -> f64 {
    let decade = 10f64.powf(step.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|f| f * decade).into_iter().find(|s| *s >= step).unwrap_or(step)
}

/// `value` in three digits and a letter.
pub fn short(value: f64) -> String {
    let (scaled, letter) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{scaled:.digits$}");
    let text =
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{letter}")
}

/// One value of a server in one category, with the range that its runs had.
struct Dot {
    category: usize,
    server: usize,
    low: f64,
    middle: f64,
    high: f64,
}

/// Dots with ranges: `what` of each run, for the servers of `cells`, a category for each cell.
/// `None` if there is nothing to show.
pub fn dots(cells: &[&Cell], unit: &str, what: fn(&Run) -> Option<f64>) -> Option<String> {
    let mut found = Vec::new();
    for (category, cell) in cells.iter().enumerate() {
        for (server, result) in cell.results.iter().enumerate() {
            let Some(middle) = result.median(what) else { continue };
            let values = || result.runs.iter().filter_map(what);
            let low = values().fold(f64::INFINITY, f64::min);
            let high = values().fold(0.0, f64::max);
            found.push(Dot { category, server, low, middle, high });
        }
    }
    found.retain(|dot| dot.low > 0.0);
    let names: Vec<String> = cells
        .iter()
        .map(|cell| format!("{}×{}", cell.shape.clients, cell.shape.pipeline))
        .collect();
    let servers = cells.iter().map(|cell| cell.results.len()).max()?;
    draw_dots(&found, &names, servers, "connections × pipeline", unit)
}

fn draw_dots(
    dots: &[Dot],
    names: &[String],
    servers: usize,
    x_name: &str,
    unit: &str,
) -> Option<String> {
    let low = dots.iter().map(|dot| dot.low).reduce(f64::min)?;
    let high = dots.iter().map(|dot| dot.high).reduce(f64::max)?;
    let axis = Axis::around(low, high);
    let marks: Vec<f64> = (0..names.len()).map(|at| at as f64 + 0.5).collect();
    let mut svg = String::new();
    {
        let width = WIDTH.max(CATEGORY_WIDTH * names.len() as u32);
        let root = SVGBackend::with_string(&mut svg, (width, HEIGHT)).into_drawing_area();
        let label = |place: &f64| names.get(*place as usize).cloned().unwrap_or_default();
        let across = Across { to: names.len() as f64, marks, name: x_name, label: &label };
        let mut chart = frame(&root, across, &axis, unit)?;
        for dot in dots {
            let share = (dot.server as f64 + 1.0) / (servers as f64 + 1.0);
            let x = dot.category as f64 + 0.1 + 0.8 * share;
            let ends = [dot.low, dot.high].map(|value| (x, axis.place(value)));
            let colour = series(dot.server);
            let range = PathElement::new(ends.to_vec(), colour.mix(0.5).stroke_width(2));
            chart.draw_series([range]).ok()?;
            let at = (x, axis.place(dot.middle));
            mark(&mut chart, dot.server, at)?;
        }
        root.present().ok()?;
    }
    Some(svg)
}

/// Draws a server's shape in its colour.
fn mark(chart: &mut Chart<'_, '_>, server: usize, at: (f64, f64)) -> Option<()> {
    let style = series(server).filled();
    match server % 3 {
        0 => drop(chart.draw_series([Circle::new(at, 4, style)]).ok()?),
        1 => drop(chart.draw_series([TriangleMarker::new(at, 5, style)]).ok()?),
        _ => {
            let square = Rectangle::new([(-4, -4), (4, 4)], style);
            chart.draw_series([EmptyElement::at(at) + square]).ok()?;
        }
    }
    Some(())
}

/// Latency of all requests, the slowest stretched out to the right; `None` without requests.
pub fn curves(results: &[ServerResult]) -> Option<String> {
    let points = || results.iter().flat_map(|result| &result.curve).filter(|point| point.1 > 0.0);
    let low = points().map(|point| point.1).reduce(f64::min)?;
    let high = points().map(|point| point.1).reduce(f64::max)?;
    // A little more, so that the mark of the last nine is not lost to rounding.
    let right = points().map(|point| nines(point.0) + 1e-6).fold(2.0, f64::max);
    let axis = Axis::around(low.min(high / LOG_FROM), high);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, HEIGHT)).into_drawing_area();
        let marks: Vec<f64> = (0..=right as usize).map(|nines| nines as f64).collect();
        let label = |nines: &f64| match *nines as usize {
            0 => "0 %".to_owned(),
            1 => "90 %".to_owned(),
            2 => "99 %".to_owned(),
            more => format!("99.{} %", "9".repeat(more - 2)),
        };
        let across = Across { to: right, marks, name: "share of requests", label: &label };
        let mut chart = frame(&root, across, &axis, "latency, us")?;
        for (index, result) in results.iter().enumerate() {
            let line = result.curve.iter().filter(|point| point.1 > 0.0);
            let line: Vec<(f64, f64)> = line.map(|p| (nines(p.0), axis.place(p.1))).collect();
            let last = line.last().copied();
            chart.draw_series(LineSeries::new(line, series(index).stroke_width(2))).ok()?;
            last.map_or(Some(()), |at| mark(&mut chart, index, at))?;
        }
        root.present().ok()?;
    }
    Some(svg)
}

/// How many nines a share of requests has: 0.9 one, 0.99 two.
fn nines(share: f64) -> f64 {
    -(1.0 - share).max(1e-9).log10()
}

/// Bytes beyond key and value for each key, by size of the value.
pub fn memory(rows: &[Memory], servers: &[String]) -> Option<String> {
    let mut sizes: Vec<usize> = rows.iter().map(|row| row.data_bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let dot = |row: &Memory| {
        let overhead = row.overhead().max(0.1);
        let category = sizes.iter().position(|size| *size == row.data_bytes)?;
        let server = servers.iter().position(|name| *name == row.server)?;
        Some(Dot { category, server, low: overhead, middle: overhead, high: overhead })
    };
    let found: Vec<Dot> = rows.iter().filter_map(dot).collect();
    let names: Vec<String> = sizes.iter().map(|size| format!("{size} B")).collect();
    draw_dots(&found, &names, servers.len(), "size of values", "bytes over key and value")
}

/// Places along an axis, with marks where we want them.
#[derive(Clone)]
struct Line {
    from: f64,
    to: f64,
    marks: Vec<f64>,
}

impl Ranged for Line {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, limit: (i32, i32)) -> i32 {
        let share = (place - self.from) / (self.to - self.from);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // There are no lesser marks between the marks.
        if hint.weight().allow_light_points() { Vec::new() } else { self.marks.clone() }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.from..self.to
    }
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Line, Line>>;

/// A horizontal axis.
struct Across<'a> {
    to: f64,
    marks: Vec<f64>,
    name: &'a str,
    label: &'a dyn Fn(&f64) -> String,
}

/// Axes, marks and their labels.
fn frame<'a, 'b>(
    root: &'a DrawingArea<SVGBackend<'b>, Shift>,
    across: Across<'_>,
    axis: &Axis,
    unit: &str,
) -> Option<Chart<'a, 'b>> {
    let font = |size: i32| ("sans-serif", size).into_font().color(&INK);
    let mut chart = ChartBuilder::on(root)
        .margin(4)
        .margin_right(14)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(
            Line { from: 0.0, to: across.to, marks: across.marks },
            Line { from: axis.from, to: axis.to, marks: axis.marks.clone() },
        )
        .ok()?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(font(17))
        .axis_desc_style(font(17))
        .x_desc(across.name)
        .y_desc(unit)
        .x_label_formatter(across.label)
        .y_label_formatter(&|place| short(axis.value(*place)))
        .draw()
        .ok()?;
    Some(chart)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::document::Shape;

    fn cell(clients: usize, rps: &[f64]) -> Cell {
        let run = |rps: &f64| Run { rps: *rps, ..Run::default() };
        let result = ServerResult {
            server: "a".into(),
            runs: rps.iter().map(run).collect(),
            curve: vec![(0.0, 10.0), (0.9, 20.0), (0.999, 400.0)],
        };
        let shape = Shape { clients, pipeline: 16, ..Shape::default() };
        Cell { shape, results: vec![result.clone(), result], ..Cell::default() }
    }

    #[test]
    fn plots_name_their_axes_and_know_two_servers() {
        let cells = [cell(50, &[1e5, 1.2e5]), cell(1000, &[3e6])];
        let svg = dots(&cells.iter().collect::<Vec<_>>(), "requests a second", |run| Some(run.rps));
        let svg = svg.expect("there are values");
        for part in ["50×16", "1000×16", "requests a second", "#0000F0", "#0000F1", "1M"] {
            assert!(svg.contains(part), "{part} is missing in {svg}");
        }
        let svg = curves(&cells[0].results).expect("there are points");
        assert!(svg.contains("99.9 %") && svg.contains("polyline"), "{svg}");
        assert_eq!(curves(&[]), None);
        assert_eq!(dots(&[], "", |_| None), None);
    }

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.5, "0.5"),
            (12.0, "12"),
            (1_234.0, "1.23k"),
            (250_000.0, "250k"),
            (3e6, "3M"),
            (0.0, "0"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn an_axis_has_marks_and_holds_its_values() {
        for (min, max) in [(1.0, 2.0), (0.1, 5e6), (90.0, 1000.0), (7.0, 7.0)] {
            let axis = Axis::around(min, max);
            assert!(axis.marks.len() >= 2, "{min} {max}: {:?}", axis.marks);
            assert!(axis.place(min) >= axis.from && axis.place(max) <= axis.to, "{min} {max}");
        }
    }
}
