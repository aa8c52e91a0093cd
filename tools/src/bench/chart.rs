// SPDX-License-Identifier: GPL-2.0
//! Charts: what operations cost by number of ranges, both axes logarithmic.

use std::path::Path;

use anyhow::{anyhow, Result};
use plotters::prelude::*;

use super::figures::{Driver, Figures};

/// A chart.
struct Chart {
    file: &'static str,
    title: &'static str,
    /// The divisor of the figures for the vertical axis, and the axis' name.
    scale: f64,
    axis: &'static str,
    lines: &'static [Line],
}

struct Line {
    operation: &'static str,
    driver: Driver,
    name: &'static str,
    dashed: bool,
}

const fn line(operation: &'static str, driver: Driver, name: &'static str) -> Line {
    Line {
        operation,
        driver,
        name,
        dashed: false,
    }
}

const fn dashed(operation: &'static str, driver: Driver, name: &'static str) -> Line {
    Line {
        dashed: true,
        ..line(operation, driver, name)
    }
}

/// A chart of what single operations cost.
const fn instructions(file: &'static str, title: &'static str, lines: &'static [Line]) -> Chart {
    Chart {
        file,
        title,
        scale: 1.0,
        axis: "instructions",
        lines,
    }
}

const CHARTS: [Chart; 6] = [
    instructions(
        "fault.svg",
        "Page fault, 2 MiB",
        &[
            dashed("fault-2m-last", Driver::C, "C, last range"),
            line("fault-2m", Driver::C, "C, average"),
            dashed("fault-2m-last", Driver::Rust, "Rust, last range"),
            line("fault-2m", Driver::Rust, "Rust, average"),
        ],
    ),
    instructions(
        "resize.svg",
        "Resize that fills holes, per range",
        &[
            line("resize-fill", Driver::C, "C"),
            line("resize-fill", Driver::Rust, "Rust"),
        ],
    ),
    instructions(
        "shrink.svg",
        "Shrink to 0, per range",
        &[
            line("shrink", Driver::C, "C"),
            line("shrink", Driver::Rust, "Rust"),
        ],
    ),
    instructions(
        "mapping.svg",
        "Write of mapping, per range",
        &[
            line("mapping-write", Driver::C, "C"),
            line("mapping-write", Driver::Rust, "Rust"),
        ],
    ),
    instructions(
        "bind.svg",
        "Bind, per range",
        &[
            line("bind", Driver::C, "C"),
            line("bind", Driver::Rust, "Rust"),
        ],
    ),
    Chart {
        file: "unbind.svg",
        title: "Unbind, two CPUs",
        scale: 1e6,
        axis: "milliseconds",
        lines: &[
            line("unbind-turns", Driver::C, "C"),
            line("unbind-turns", Driver::Rust, "Rust"),
        ],
    },
];

const SIZE: (u32, u32) = (480, 320);
const FONT: &str = "sans-serif";

/// Writes all charts.
pub fn write_all(dir: &Path, figures: &Figures) -> Result<()> {
    for chart in &CHARTS {
        let path = dir.join(chart.file);
        draw(&path, chart, figures).map_err(|why| anyhow!("{}: {why}", path.display()))?;
    }
    Ok(())
}

/// The points of a line.
fn points(line: &Line, scale: f64, figures: &Figures) -> Vec<(f64, f64)> {
    let ranges = figures.ranges().into_iter();
    let point = |ranges| {
        let figure = figures.get(line.operation, line.driver, ranges)?;
        Some((ranges as f64, figure.value / scale))
    };
    ranges.filter_map(point).collect()
}

fn colour(driver: Driver) -> RGBColor {
    match driver {
        Driver::C => RGBColor(0x5c, 0x6b, 0xc0),
        Driver::Rust | Driver::RustAround => RGBColor(0xd8, 0x43, 0x15),
    }
}

fn draw(path: &Path, chart: &Chart, figures: &Figures) -> Result<()> {
    let lines = chart.lines.iter();
    let lines: Vec<_> = lines
        .map(|line| (line, points(line, chart.scale, figures)))
        .collect();
    let all = || lines.iter().flat_map(|(_, points)| points.iter());
    let most = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(1.0, f64::max);
    let least = all().map(|point| point.1).fold(f64::INFINITY, f64::min);
    let (right, top) = (most(|point| point.0), most(|point| point.1));
    // The axis has whole decades, so that charts of one operation can be compared.
    let bottom = 10_f64.powf(least.max(1e-3).log10().floor());
    let top = 10_f64.powf(top.log10().ceil().max(bottom.log10() + 1.0));

    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut context = ChartBuilder::on(&area)
        .caption(chart.title, (FONT, 16))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d((1.0..right.max(2.0)).log_scale(), (bottom..top).log_scale())?;
    context
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("ranges")
        .y_desc(chart.axis)
        .label_style((FONT, 12))
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| {
            if *y < 1.0 {
                y.to_string()
            } else {
                format!("{y:.0}")
            }
        })
        .draw()?;
    for (line, points) in &lines {
        let style = colour(line.driver).stroke_width(2);
        let key = move |(x, y): (i32, i32)| PathElement::new(vec![(x, y), (x + 16, y)], style);
        if line.dashed {
            let series = DashedLineSeries::new(points.iter().copied(), 5, 4, style);
            context
                .draw_series(series)?
                .label(line.name)
                .legend(move |(x, y)| {
                    let pieces = vec![(x, y), (x + 6, y)];
                    PathElement::new(pieces, style)
                });
        } else {
            let series = LineSeries::new(points.iter().copied(), style);
            context.draw_series(series)?.label(line.name).legend(key);
        }
        let dot = |point: &(f64, f64)| Circle::new(*point, 3, colour(line.driver).filled());
        context.draw_series(points.iter().map(dot))?;
    }
    context
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE)
        .label_font((FONT, 12))
        .draw()?;
    area.present()?;
    Ok(())
}
