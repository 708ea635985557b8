//! PNG and JPEG: one image.

use std::io::Cursor;

use image::{ImageFormat, ImageReader, Limits};

use super::error::Fault;
use super::{Images, Pixels};

const FORMAT: &str = "picture";

pub(super) fn is_one(bytes: &[u8]) -> bool {
    format(bytes).is_some()
}

fn format(bytes: &[u8]) -> Option<ImageFormat> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        Some(ImageFormat::Png)
    } else if bytes.starts_with(&[0xff, 0xd8, 0xff]) {
        Some(ImageFormat::Jpeg)
    } else {
        None
    }
}

/// One image, its planes apart. Nothing is converted: not the size, not colour to grey.
pub(super) fn parse(bytes: &[u8], input: [usize; 3]) -> Result<Images, Fault> {
    let [_, h, w] = input;
    let mut reader = ImageReader::new(Cursor::new(bytes));
    if let Some(format) = format(bytes) {
        reader.set_format(format);
    }
    // A header may claim any size: nothing much larger than what is wanted is ever decoded.
    let mut limits = Limits::default();
    limits.max_image_width = Some(u32::try_from(w.max(1 << 13)).unwrap_or(u32::MAX));
    limits.max_image_height = Some(u32::try_from(h.max(1 << 13)).unwrap_or(u32::MAX));
    reader.limits(limits);
    let image = reader.decode().map_err(|error| {
        Fault::new(FORMAT, "content", "a PNG or JPEG of at most 8192 x 8192", error.to_string())
    })?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    let color = image.color();
    if color.has_alpha() {
        let expected = "grey or RGB without transparency; remove the alpha channel";
        return Err(Fault::new(FORMAT, "colours", expected, format!("{color:?}")));
    }
    let (channels, interleaved) = if color.has_color() {
        (3, image.into_rgb8().into_raw())
    } else {
        (1, image.into_luma8().into_raw())
    };
    let planes = (0..channels).flat_map(|c| interleaved.iter().skip(c).step_by(channels).copied());
    Ok(Images { shape: vec![channels, height, width], pixels: Pixels::Bytes(planes.collect()), labels: None })
}
