// SPDX-License-Identifier: GPL-2.0

//! The meaning of text by the C rules, as plainly as possible.

use crate::ranges::parse::DeviceName;

/// The right answer of `parse_device_name()`: `None` if the text is no name.
pub(crate) fn model_name(text: &str) -> Option<DeviceName> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let (region, id) = text.strip_prefix("dax")?.split_once('.')?;
    let (region, id) = (region.parse().ok()?, id.parse().ok()?);
    // Only the spelling that the kernel prints is a name.
    (format!("dax{region}.{id}") == text).then_some(DeviceName { region, id })
}
