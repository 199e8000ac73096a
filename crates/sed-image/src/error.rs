//! Everything that can go wrong between bytes, pixels and masks.

use crate::format::ImageFormat;

/// Why an image or a mask was refused.
///
/// Messages are lower case, name the limit and the actual value, and say what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// No bytes at all.
    #[error("the image is empty: send the bytes of a jpeg, png, webp, gif, bmp or tiff file")]
    Empty,

    /// More encoded bytes than the limit.
    #[error(
        "the encoded image has {actual} bytes, the limit is {limit}: send a smaller or more compressed one"
    )]
    TooManyBytes {
        /// Bytes received.
        actual: u64,
        /// Most bytes allowed.
        limit: u64,
    },

    /// The content is none of the supported formats.
    #[error("the image is {found}: {advice}")]
    UnknownFormat {
        /// The kind of content that was recognised instead.
        found: &'static str,
        /// Advice on what to send.
        advice: &'static str,
    },

    /// One side is longer than the limit.
    #[error("the image is {width}x{height} pixels, the longest side allowed is {limit}: scale it down")]
    SideTooLong {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Longest side allowed, in pixels.
        limit: u32,
    },

    /// More pixels than the limit.
    #[error("the image is {width}x{height} = {pixels} pixels, the limit is {limit}: scale it down")]
    TooManyPixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Width times height.
        pixels: u64,
        /// Most pixels allowed.
        limit: u64,
    },

    /// Decoding would need more memory than the limit.
    #[error(
        "decoding the {format} image needs up to {needed} bytes of memory, the limit is {limit}: \
         send fewer pixels or 8 bits a channel"
    )]
    TooMuchMemory {
        /// Format of the image.
        format: ImageFormat,
        /// Most bytes that decoding it takes.
        needed: u64,
        /// Most bytes allowed.
        limit: u64,
    },

    /// Width or height is zero.
    #[error("the image is {width}x{height} pixels: both sides must be at least 1")]
    ZeroSize {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },

    /// A colour layout or a variant of the format that is not supported.
    #[error("{format} with {what} is not supported: convert the image to 8-bit rgb")]
    UnsupportedVariant {
        /// Format of the image.
        format: ImageFormat,
        /// The colour layout or feature.
        what: String,
    },

    /// The bytes break the rules of their format.
    #[error("the {format} image is damaged: {reason}")]
    Malformed {
        /// Format of the image.
        format: ImageFormat,
        /// The damage that was found.
        reason: String,
    },

    /// Raw pixels whose length does not fit their size.
    #[error(
        "raw pixels of {width}x{height} with a row stride of {row_stride} need {expected} bytes, got {actual}"
    )]
    RawLength {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Bytes from one row to the next.
        row_stride: u64,
        /// Bytes needed.
        expected: u64,
        /// Bytes received.
        actual: u64,
    },

    /// A row stride smaller than one row.
    #[error("the row stride is {row_stride} bytes, a row of {width} rgb pixels needs at least {least}")]
    RowStride {
        /// Bytes from one row to the next.
        row_stride: u64,
        /// Width in pixels.
        width: u32,
        /// Bytes of one row.
        least: u64,
    },

    /// A map whose length does not fit its size.
    #[error("a map of {width}x{height} needs {expected} values, got {actual}")]
    MapLength {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Values needed.
        expected: u64,
        /// Values given.
        actual: u64,
    },

    /// A category index that the encoding or the vocabulary cannot hold.
    #[error("the index map holds category {category}, {context} holds at most {most}: {advice}")]
    CategoryOutOfRange {
        /// The index found.
        category: u16,
        /// The encoding or vocabulary that cannot hold it.
        context: &'static str,
        /// Largest index that it can hold.
        most: u16,
        /// Advice on what to do.
        advice: &'static str,
    },

    /// An encoded mask that breaks the rules of its encoding.
    #[error("the {encoding} mask is damaged: {reason}")]
    MalformedMask {
        /// Name of the encoding.
        encoding: &'static str,
        /// The rule that the mask breaks.
        reason: String,
    },

    /// More polygon vertices than the limit.
    #[error(
        "the polygons have more than {limit} vertices: raise the simplification tolerance or the \
         minimum area, or ask for run-length encoding"
    )]
    TooManyVertices {
        /// Most vertices allowed.
        limit: usize,
    },

    /// An option outside its range.
    #[error("option {name} is {actual}: {expected}")]
    Option {
        /// Name of the option.
        name: &'static str,
        /// Value given.
        actual: String,
        /// The values that are allowed.
        expected: &'static str,
    },

    /// Writing a PNG failed; a defect here, not in the caller's input.
    #[error("could not write the png: {reason}")]
    Encode {
        /// The error message of the encoder.
        reason: String,
    },
}

impl ImageError {
    /// A stable machine-readable reason in upper snake case, for error details and metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Empty => "IMAGE_EMPTY",
            Self::TooManyBytes { .. } => "IMAGE_TOO_MANY_BYTES",
            Self::UnknownFormat { .. } => "IMAGE_FORMAT_UNKNOWN",
            Self::SideTooLong { .. } => "IMAGE_SIDE_TOO_LONG",
            Self::TooManyPixels { .. } => "IMAGE_TOO_MANY_PIXELS",
            Self::TooMuchMemory { .. } => "IMAGE_TOO_MUCH_MEMORY",
            Self::ZeroSize { .. } => "IMAGE_ZERO_SIZE",
            Self::UnsupportedVariant { .. } => "IMAGE_VARIANT_UNSUPPORTED",
            Self::Malformed { .. } => "IMAGE_MALFORMED",
            Self::RawLength { .. } => "IMAGE_RAW_LENGTH",
            Self::RowStride { .. } => "IMAGE_ROW_STRIDE",
            Self::MapLength { .. } => "MASK_LENGTH",
            Self::CategoryOutOfRange { .. } => "MASK_CATEGORY_OUT_OF_RANGE",
            Self::MalformedMask { .. } => "MASK_MALFORMED",
            Self::TooManyVertices { .. } => "MASK_TOO_MANY_VERTICES",
            Self::Option { .. } => "OPTION_OUT_OF_RANGE",
            Self::Encode { .. } => "PNG_ENCODE_FAILED",
        }
    }

    /// True when the input was at fault (and the caller can mend it), false for a defect of ours.
    pub fn is_callers_fault(&self) -> bool {
        !matches!(self, Self::Encode { .. })
    }
}

/// Result with [`ImageError`].
pub type Result<T, E = ImageError> = std::result::Result<T, E>;
