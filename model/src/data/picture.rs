//! PNG and JPEG: one image.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use super::error::Fault;
use super::{Images, Pixels, fitting};

const FORMAT: &str = "picture";
/// Bytes that decoding may take beyond the image itself.
const SCRATCH: u64 = 64 << 20;

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

/// One image, its planes apart. Nothing is converted: not the size, not color to gray.
pub(super) fn parse(bytes: &[u8], input: [usize; 3]) -> Result<Images, Fault> {
    let mut reader = ImageReader::new(Cursor::new(bytes));
    if let Some(format) = format(bytes) {
        reader.set_format(format);
    }
    let mut decoder = reader.into_decoder().map_err(|error| malformed(&error))?;
    let color = decoder.color_type();
    if color.has_alpha() {
        let expected = "gray or RGB without transparency; remove the alpha channel";
        return Err(Fault::new(FORMAT, "colors", expected, format!("{color:?}")));
    }
    let channels = if color.has_color() { 3 } else { 1 };
    let (width, height) = decoder.dimensions();
    let shape = vec![channels, height as usize, width as usize];
    // A header may claim any size: what does not fit the network is never decoded.
    fitting(&shape, input)?;
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(decoder.total_bytes().saturating_mul(2).saturating_add(SCRATCH));
    decoder.set_limits(limits).map_err(|error| malformed(&error))?;
    let image = DynamicImage::from_decoder(decoder).map_err(|error| malformed(&error))?;
    let interleaved =
        if channels == 3 { image.into_rgb8().into_raw() } else { image.into_luma8().into_raw() };
    let planes = (0..channels).flat_map(|c| interleaved.iter().skip(c).step_by(channels).copied());
    Ok(Images { shape, pixels: Pixels::Bytes(planes.collect()), labels: None })
}

fn malformed(error: &ImageError) -> Fault {
    Fault::new(FORMAT, "content", "a readable PNG or JPEG", error.to_string())
}
