// SPDX-License-Identifier: GPL-2.0
//! Draws a region as a map of its devices and holes.

use std::io::{self, IsTerminal};

pub use dax_map::Style;

use crate::device::Device;
use crate::region::Region;
use crate::span::{human, page};

/// The style for standard output: UTF-8 if it is a terminal and the locale is UTF-8.
pub fn style_of_terminal() -> Style {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty())
        .unwrap_or_default()
        .to_lowercase();
    match io::stdout().is_terminal() && locale.contains("utf") {
        true => Style::UTF8,
        false => Style::ASCII,
    }
}

/// Draws the region. Returns the lines.
pub fn draw(region: &Region, style: &Style) -> Vec<String> {
    let devices = region.devices.iter().filter(|device| device.size > 0);
    let Some(all) = region.span() else {
        let mut lines = vec!["start address unknown, so holes are not shown".to_owned()];
        lines.extend(devices.flat_map(device_lines));
        return lines;
    };
    let devices: Vec<_> = devices
        .map(|device| dax_map::Device {
            id: device.id,
            spans: device.spans(),
            legend: device_lines(device),
        })
        .collect();
    dax_map::draw(style, all, &devices, &region.holes())
}

/// A device in words: one line, and one for each range if there are several.
pub fn device_lines(device: &Device) -> Vec<String> {
    let mappings = &device.mappings;
    let first = dax_map::legend(&device.name, device.size, mappings.len(), "range");
    let mut lines = vec![format!("{first}, {}", device.state())];
    if mappings.len() > 1 {
        for mapping in mappings {
            let first = mapping.page_offset;
            let last = first + mapping.span.len() / page() - 1;
            let size = human(mapping.span.len());
            lines.push(format!(
                "    pages {first:#8x}-{last:#8x} at {}  {size}",
                mapping.span
            ));
        }
    }
    lines
}
