//! JPEG: a walk over the markers of the whole file.
//!
//! The walk finds what the decoder does not look for: whether the file goes on to its end marker, how often
//! it passes over the picture, and which segments are metadata.

use std::ops::Range;

use super::{Facts, cut, malformed};
use crate::error::{ImageError, Result};
use crate::format::ImageFormat::Jpeg;

/// The most passes over the picture. Encoders write 1 to 10, optimizers some 20; each costs the decoder a
/// walk over all blocks, however few bytes it has.
const MOST_SCANS: usize = 40;
/// The most bytes of code and quantization tables; encoders write some hundred for each scan.
const MOST_TABLE_BYTES: usize = 256 << 10;
/// The start marker.
const START_BYTES: usize = 2;
/// Begins the EXIF segment.
const EXIF: &[u8] = b"Exif\0\0";
/// Begins the segment that names the colour space.
const ADOBE_SEGMENT: u8 = 0xee;
/// Begins a segment in which a frame of a video says that it goes without code tables.
const JFIF_SEGMENT: u8 = 0xe0;

/// The frame header.
#[derive(Debug, Clone, Copy)]
struct Frame {
    width: u32,
    height: u32,
    progressive: bool,
    components: u64,
    /// Largest sampling factors.
    most: (u64, u64),
    /// Sum of the products of the sampling factors.
    blocks: u64,
}

/// A walked file.
#[derive(Debug)]
pub(in crate::decode) struct Walk<'a> {
    frame: Frame,
    scans: usize,
    /// Components of the first scan.
    in_first_scan: u64,
    /// EXIF data of the last such segment.
    pub(in crate::decode) exif: Option<&'a [u8]>,
    bytes: &'a [u8],
    /// Runs of what the decoder needs: all but metadata, comments and what stands between or behind.
    kept: Vec<Range<usize>>,
}

/// Reads the frame header and checks that the file is whole.
pub(super) fn facts(bytes: &[u8], check_size: impl Fn(u32, u32) -> Result<()>) -> Result<Facts> {
    let walk = Walk::new(bytes)?;
    let Frame { width, height, progressive, components, most, blocks } = walk.frame;
    check_size(width, height)?;
    let across = u64::from(width).div_ceil(8 * most.0);
    let down = u64::from(height).div_ceil(8 * most.1);
    // Coefficients of the whole picture, where it does not come in one pass.
    let in_one_pass = !progressive && walk.scans == 1 && walk.in_first_scan >= components;
    let coefficients = if in_one_pass { 0 } else { across * down * blocks * 64 * 2 };
    // Rows of blocks, and their upsampled copies.
    let rows = components * across * 8 * most.0 * 8 * 2 * (most.1 + 2 * most.1 + 4);
    let work_bytes = coefficients + rows + walk.kept_bytes();
    let pixel_bytes = if components == 1 { 1 } else { 3 };
    Ok(Facts { width, height, pixel_bytes, work_bytes })
}

impl<'a> Walk<'a> {
    /// Walks from the first marker to the end marker; what follows it does not matter.
    ///
    /// # Errors
    /// [`ImageError::Malformed`] for a file that ends early, has no frame, more than 40 passes or far too
    /// many tables; [`ImageError::UnsupportedVariant`] for a process other than baseline and progressive
    /// Huffman coding of 8 bits.
    pub(in crate::decode) fn new(bytes: &'a [u8]) -> Result<Self> {
        let (mut frame, mut exif, mut scans, mut table_bytes) = (None, None, 0, 0);
        let mut in_first_scan = 0;
        let mut kept = Vec::new();
        keep(&mut kept, 0..START_BYTES);
        let mut at = START_BYTES;
        loop {
            let marker_at = next_marker(bytes, at).ok_or_else(|| cut(Jpeg))?;
            let marker = bytes[marker_at];
            at = marker_at + 1;
            match marker {
                0xd9 => {
                    keep(&mut kept, marker_at - 1..at);
                    break;
                }
                // Restart markers and a start marker have no content.
                0x01 | 0xd0..=0xd8 => continue,
                _ => {}
            }
            let segment = segment(bytes, at)?;
            let content = &bytes[segment.start + 2..segment.end];
            let mut end = segment.end;
            match marker {
                0xc4 | 0xcc | 0xdb | 0xdd => table_bytes += content.len(),
                0xc0..=0xcf if marker != 0xc8 => {
                    if frame.is_some() {
                        return Err(malformed(Jpeg, "it has two frame headers"));
                    }
                    frame = Some(read_frame(marker, content)?);
                }
                0xda => {
                    scans += 1;
                    if scans == 1 {
                        in_first_scan = content.first().copied().map_or(0, u64::from);
                    }
                    end = end_of_scan(bytes, end)?;
                }
                0xe1 if content.starts_with(EXIF) => exif = content.get(EXIF.len()..),
                _ => {}
            }
            if scans > MOST_SCANS {
                return Err(malformed(Jpeg, format!("it has more than {MOST_SCANS} scans")));
            }
            if table_bytes > MOST_TABLE_BYTES {
                return Err(malformed(Jpeg, format!("it has more than {MOST_TABLE_BYTES} bytes of tables")));
            }
            let needed = matches!(marker, 0xc0..=0xdb | 0xdd | ADOBE_SEGMENT | JFIF_SEGMENT);
            if needed {
                keep(&mut kept, marker_at - 1..end);
            }
            at = end;
        }
        match frame {
            Some(frame) if scans > 0 => Ok(Self { frame, scans, in_first_scan, exif, bytes, kept }),
            _ => Err(malformed(Jpeg, "it holds no picture")),
        }
    }

    /// The file without metadata.
    pub(in crate::decode) fn without_metadata(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.kept_bytes() as usize);
        for range in &self.kept {
            out.extend_from_slice(&self.bytes[range.clone()]);
        }
        out
    }

    fn kept_bytes(&self) -> u64 {
        self.kept.iter().map(|range| range.len() as u64).sum()
    }
}

/// Adds a run, joined to the last one where they touch.
fn keep(kept: &mut Vec<Range<usize>>, run: Range<usize>) {
    match kept.last_mut() {
        Some(last) if last.end == run.start => last.end = run.end,
        _ => kept.push(run),
    }
}

/// The place of the next marker's second byte, over fill bytes and what stands between segments.
fn next_marker(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == 0xff)? + 1;
        at += bytes.get(at..)?.iter().position(|&byte| byte != 0xff)?;
        if bytes[at] != 0 {
            return Some(at);
        }
    }
}

/// A segment's length field and content.
fn segment(bytes: &[u8], at: usize) -> Result<Range<usize>> {
    let Some(&[high, low]) = bytes.get(at..at + 2) else { return Err(cut(Jpeg)) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length < 2 {
        return Err(malformed(Jpeg, format!("a segment at byte {at} has the length {length}")));
    }
    if at + length > bytes.len() {
        return Err(cut(Jpeg));
    }
    Ok(at..at + length)
}

/// The place of the first marker behind coded pixels. Stuffed bytes and restart markers belong to them.
fn end_of_scan(bytes: &[u8], from: usize) -> Result<usize> {
    let mut at = from;
    loop {
        let marker_at = next_marker(bytes, at).ok_or_else(|| cut(Jpeg))?;
        at = marker_at + 1;
        match bytes[marker_at] {
            0xd0..=0xd7 => {}
            // Reserved: no encoder writes them, so the coded pixels are damaged here.
            0x01..=0xbf => {
                return Err(malformed(Jpeg, format!("its coded pixels are broken at byte {marker_at}")));
            }
            // The fill bytes before the marker go with the pixels.
            _ => return Ok(marker_at - 1),
        }
    }
}

/// Reads a frame header: precision, height, width, and the sampling factors of each component.
fn read_frame(marker: u8, content: &[u8]) -> Result<Frame> {
    let unsupported = |what: &str| ImageError::UnsupportedVariant { format: Jpeg, what: what.to_owned() };
    match marker {
        0xc0..=0xc2 => {}
        0xc3 | 0xc7 | 0xcb | 0xcf => return Err(unsupported("lossless coding")),
        0xc5 | 0xc6 => return Err(unsupported("hierarchical coding")),
        _ => return Err(unsupported("arithmetic coding")),
    }
    let Some((&[precision, h1, h0, w1, w0, components], list)) = content.split_first_chunk::<6>() else {
        return Err(malformed(Jpeg, "its frame header is too short"));
    };
    if precision != 8 {
        return Err(unsupported(&format!("{precision} bits a sample")));
    }
    let list = list.as_chunks::<3>().0;
    if !(1..=4).contains(&components) || list.len() != usize::from(components) {
        return Err(malformed(Jpeg, format!("its frame header names {components} components")));
    }
    let (mut most, mut blocks) = ((1, 1), 0);
    for &[_, sampling, _] in list {
        let (across, down) = (u64::from(sampling >> 4), u64::from(sampling & 15));
        if !(1..=4).contains(&across) || !(1..=4).contains(&down) {
            return Err(malformed(Jpeg, format!("a component has the sampling factors {across}x{down}")));
        }
        most = (most.0.max(across), most.1.max(down));
        blocks += across * down;
    }
    // The decoder enlarges the other components to the first one's grid.
    let first = (u64::from(list[0][1] >> 4), u64::from(list[0][1] & 15));
    if first != most {
        return Err(unsupported("a component sampled more finely than the first one"));
    }
    Ok(Frame {
        width: u32::from(u16::from_be_bytes([w1, w0])),
        height: u32::from(u16::from_be_bytes([h1, h0])),
        progressive: marker == 0xc2,
        components: u64::from(components),
        most,
        blocks,
    })
}
