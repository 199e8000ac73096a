//! The tiles of an output that the CUDA kernels make of smaller maps.

/// The tiles of an output: each of [`Tiles::COLUMNS`] columns and [`Tiles::ROWS`] rows, row by row from the
/// left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tiles {
    /// Rows by which the first tiles begin above the output.
    pub(crate) shift: usize,
    /// Number of tiles.
    pub(crate) count: usize,
}

impl Tiles {
    /// `TILE_COLUMNS` of cuda/upsample.cuh.
    pub(crate) const COLUMNS: usize = 128;
    /// `TILE_ROWS` of cuda/upsample.cuh.
    pub(crate) const ROWS: usize = 8;

    /// Tiles of an output of `width` × `height` that is made of `high` rows: some begin where output rows
    /// pass the middle of an input row, so that at four or eight times the size none has output rows of more
    /// cells than it needs.
    pub(crate) fn of((width, height): (usize, usize), high: usize) -> Self {
        // The first output row that is not above the middle of the first input row.
        let first = height.saturating_sub(high).div_ceil(2 * high);
        let shift = (Self::ROWS - first % Self::ROWS) % Self::ROWS;
        Self { shift, count: width.div_ceil(Self::COLUMNS) * (height + shift).div_ceil(Self::ROWS) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_begin_where_cells_do() {
        // At four times the size rows 2 to 5 lie in the first cell, and a tile begins at row 2.
        assert_eq!(Tiles::of((768, 768), 192), Tiles { shift: 6, count: 6 * 97 });
        // At eight times it is rows 4 to 11.
        assert_eq!(Tiles::of((129, 64), 8), Tiles { shift: 4, count: 2 * 9 });
        assert_eq!(Tiles::of((1, 3), 12), Tiles { shift: 0, count: 1 });
    }
}
