// SPDX-License-Identifier: GPL-2.0
//! Regions as an SVG picture: the memory, and below it the cache.

use std::fmt::Write as _;

use crate::colour;
use crate::device::Device;
use crate::region::Region;
use crate::show::{conflicts, title};
use crate::span::{human, Span};

/// Width of a bar in pixels.
const WIDTH: f64 = 900.0;
/// Space around the picture in pixels.
const MARGIN: f64 = 20.0;
/// Height of a bar in pixels.
const BAR: f64 = 36.0;
/// Height of a line of text in pixels.
const LINE: f64 = 20.0;
/// The colours of devices, chosen so that they are easy to tell apart.
const FILLS: [&str; 8] = [
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#997700",
];
/// The colour of holes.
const FREE: &str = "#e8e8e8";

/// A picture that grows downwards.
struct Picture {
    body: String,
    y: f64,
}

/// The picture of all regions.
pub fn draw(regions: &[Region]) -> String {
    let mut picture = Picture {
        body: String::new(),
        y: MARGIN,
    };
    for region in regions {
        picture.region(region);
    }
    let (width, height) = (WIDTH + 2.0 * MARGIN, picture.y);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n{}</svg>\n",
        picture.body
    )
}

impl Picture {
    fn region(&mut self, region: &Region) {
        self.text(&title(region));
        let Some(all) = region.span() else {
            self.text("start address unknown");
            return;
        };
        let devices: Vec<&Device> = region.devices.iter().filter(|d| d.size > 0).collect();
        self.frame(BAR);
        for device in &devices {
            for span in device.spans() {
                self.part(all, span, BAR, fill(device), &device.name);
            }
        }
        self.y += BAR;
        self.text(&format!("{:#x} to {:#x}", all.start, all.end));
        if let Some(period) = region.period() {
            self.cache(region, &devices, period);
        }
        for device in devices {
            let (name, size, state) = (&device.name, human(device.size), device.state());
            self.key(fill(device), &format!("{name}, {size}, {state}"));
        }
        self.key(FREE, "free");
        self.y += MARGIN;
    }

    /// Draws the places of each device in the cache, one row for each device.
    fn cache(&mut self, region: &Region, devices: &[&Device], period: u64) {
        let Some(all) = Span::checked_at(0, period) else {
            return;
        };
        let count = conflicts(region).len();
        self.text(&format!(
            "places in the cache of {}; pairs of devices that share some: {count}",
            human(period)
        ));
        for device in devices {
            self.frame(BAR / 2.0);
            for place in colour::places(&device.spans(), period) {
                self.part(all, place, BAR / 2.0, fill(device), &device.name);
            }
            self.y += BAR / 2.0 + 2.0;
        }
    }

    fn frame(&mut self, height: f64) {
        let y = self.y;
        self.add(&format!(
            "<rect x=\"{MARGIN}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{height}\" fill=\"{FREE}\"/>"
        ));
    }

    /// Draws `span` as a part of a bar that stands for `all`.
    fn part(&mut self, all: Span, span: Span, height: f64, fill: &str, name: &str) {
        let scale = WIDTH / all.len() as f64;
        let x = MARGIN + (span.start - all.start) as f64 * scale;
        let width = span.len() as f64 * scale;
        let y = self.y;
        self.add(&format!(
            "<rect x=\"{x:.2}\" y=\"{y}\" width=\"{width:.2}\" height=\"{height}\" fill=\"{fill}\" \
             stroke=\"white\" stroke-width=\"0.5\"><title>{name} {span} {}</title></rect>",
            human(span.len())
        ));
    }

    fn key(&mut self, fill: &str, text: &str) {
        let y = self.y + 4.0;
        self.add(&format!(
            "<rect x=\"{MARGIN}\" y=\"{y}\" width=\"12\" height=\"12\" fill=\"{fill}\"/>"
        ));
        self.text_at(MARGIN + 20.0, text);
    }

    fn text(&mut self, text: &str) {
        self.text_at(MARGIN, text);
    }

    fn text_at(&mut self, x: f64, text: &str) {
        let y = self.y + 14.0;
        self.add(&format!(
            "<text x=\"{x}\" y=\"{y}\">{}</text>",
            escaped(text)
        ));
        self.y += LINE;
    }

    fn add(&mut self, element: &str) {
        // Writing into a string cannot fail.
        let _ = writeln!(self.body, "{element}");
    }
}

/// The colour of a device.
fn fill(device: &Device) -> &'static str {
    let number = (device.id % FILLS.len() as u64) as usize;
    FILLS.get(number).copied().unwrap_or(FREE)
}

/// Text as SVG has it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
