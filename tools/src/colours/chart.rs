// SPDX-License-Identifier: GPL-2.0
//! Charts: a group of bars for each way in which devices were made.

use std::path::Path;

use anyhow::{anyhow, Result};
use dax_protocol::Impl;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::figures::{Case, Kind};

const SIZE: (u32, u32) = (480, 320);
const FONT: &str = "sans-serif";
/// The width of all bars of a group; the groups are 1 apart.
const WIDTH: f64 = 0.8;

/// The bars of one colour: their name, their value, and how faint they are.
struct Series {
    name: &'static str,
    driver: Impl,
    value: fn(&Case) -> f64,
    strength: f64,
}

const LOST: [Series; 2] = [
    series("C", Impl::C, Case::lost_percent, 1.0),
    series("Rust", Impl::Rust, Case::lost_percent, 1.0),
];
const HITS: [Series; 4] = [
    series("C, alone", Impl::C, |case| case.small_hits()[0], 0.4),
    series("C, beside B", Impl::C, |case| case.small_hits()[1], 1.0),
    series("Rust, alone", Impl::Rust, |case| case.small_hits()[0], 0.4),
    series(
        "Rust, beside B",
        Impl::Rust,
        |case| case.small_hits()[1],
        1.0,
    ),
];

const fn series(
    name: &'static str,
    driver: Impl,
    value: fn(&Case) -> f64,
    strength: f64,
) -> Series {
    Series {
        name,
        driver,
        value,
        strength,
    }
}

/// Writes all charts.
pub fn write_all(dir: &Path, cases: &[Case]) -> Result<()> {
    let lost = "pages lost to the other, of 100 accesses";
    let hits = "hits of A, of 100 accesses";
    for (file, title, kind, axis, series) in [
        (
            "colours-lost.svg",
            "Direct-mapped cache",
            Kind::Cached,
            lost,
            &LOST[..],
        ),
        (
            "colours-hits.svg",
            "Direct-mapped cache, A in 128 MiB",
            Kind::Cached,
            hits,
            &HITS,
        ),
        ("flat-lost.svg", "Flat memory mode", Kind::Flat, lost, &LOST),
        (
            "flat-hits.svg",
            "Flat memory mode, A in 128 MiB",
            Kind::Flat,
            hits,
            &HITS,
        ),
    ] {
        let path = dir.join(file);
        let cases: Vec<&Case> = cases.iter().filter(|case| case.kind == kind).collect();
        draw(&path, title, axis, &cases, series)
            .map_err(|why| anyhow!("{}: {why}", path.display()))?;
    }
    Ok(())
}

/// The colour of a driver, as in the charts of `make bench`.
fn colour(driver: Impl) -> RGBColor {
    match driver {
        Impl::C => RGBColor(0x5c, 0x6b, 0xc0),
        Impl::Rust => RGBColor(0xd8, 0x43, 0x15),
    }
}

/// The ways in which devices were made, each once.
fn ways(cases: &[&Case]) -> Vec<String> {
    let mut ways = Vec::new();
    for case in cases {
        if !ways.contains(&case.short()) {
            ways.push(case.short());
        }
    }
    ways
}

fn draw(path: &Path, title: &str, axis: &str, cases: &[&Case], all: &[Series]) -> Result<()> {
    let ways = ways(cases);
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let values = cases
        .iter()
        .flat_map(|case| all.iter().map(|s| (s.value)(case)));
    let highest = values.fold(1.0, f64::max);
    // Room for the legend above the highest bar.
    let top = highest * (1.2 + 0.12 * all.len() as f64);
    let right = ways.len() as f64 - 0.5;
    let mut context = ChartBuilder::on(&area)
        .caption(title, (FONT, 16))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(-0.5..right, 0.0..top)?;
    context
        .configure_mesh()
        .light_line_style(WHITE)
        .disable_x_mesh()
        .x_labels(0)
        .x_desc("how the devices were made")
        .y_desc(axis)
        .y_label_formatter(&|&y| match y > highest {
            true => String::new(),
            false => format!("{y:.0}"),
        })
        .label_style((FONT, 12))
        .draw()?;
    let text = |size: u32, vertical| {
        let style = TextStyle::from((FONT, size).into_font());
        style.pos(Pos::new(HPos::Center, vertical))
    };
    for (at, way) in ways.iter().enumerate() {
        let (x, y) = context.backend_coord(&(at as f64, 0.0));
        area.draw(&Text::new(way.clone(), (x, y + 6), text(12, VPos::Top)))?;
    }
    let width = WIDTH / all.len() as f64;
    for (number, series) in all.iter().enumerate() {
        let style = colour(series.driver).mix(series.strength).filled();
        let left = width * number as f64 - WIDTH / 2.0;
        let bars: Vec<(f64, f64)> = cases
            .iter()
            .filter(|case| case.driver == series.driver)
            .filter_map(|case| {
                let at = ways.iter().position(|way| *way == case.short())?;
                Some((at as f64 + left, (series.value)(case)))
            })
            .collect();
        let bar = |&(x, y): &(f64, f64)| Rectangle::new([(x, 0.0), (x + width * 0.9, y)], style);
        context
            .draw_series(bars.iter().map(bar))?
            .label(series.name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 12, y + 4)], style));
        // A bar of no height still has its number. Of narrow bars the numbers are small.
        let size = if all.len() > 2 { 9 } else { 11 };
        let number = |&(x, y): &(f64, f64)| {
            let label = if y == 0.0 {
                "0".to_owned()
            } else {
                format!("{y:.0}")
            };
            Text::new(label, (x + width * 0.45, y), text(size, VPos::Bottom))
        };
        context.draw_series(bars.iter().map(number))?;
    }
    context
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE)
        .label_font((FONT, 12))
        .draw()?;
    area.present()?;
    Ok(())
}
