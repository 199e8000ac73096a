//! Chains of prefixes, the keys of prefix attention.

use candle_core::{Result, bail};

/// For each query row, the key rows that it attends to. A token of a text attends to itself and to every
/// token before it; where texts share a prefix, their rows name the same keys.
#[derive(Debug, Clone, Default)]
pub struct PrefixChains {
    /// End of each row's keys in `keys`.
    ends: Vec<usize>,
    keys: Vec<u32>,
}

impl PrefixChains {
    /// Adds the next row's keys. Their order does not matter.
    pub fn push(&mut self, keys: impl IntoIterator<Item = u32>) {
        self.keys.extend(keys);
        self.ends.push(self.keys.len());
    }

    /// Number of rows.
    fn len(&self) -> usize {
        self.ends.len()
    }

    /// The keys of a row.
    pub(crate) fn row(&self, row: usize) -> &[u32] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.keys[start..self.ends[row]]
    }

    /// The start of each row's keys, followed by the end of the last row's, and the keys of all rows.
    pub(crate) fn starts_and_keys(&self) -> (Vec<u32>, &[u32]) {
        (std::iter::once(0).chain(self.ends.iter().map(|&end| end as u32)).collect(), &self.keys)
    }

    /// Most keys of a row.
    pub(crate) fn longest(&self) -> usize {
        (0..self.len()).map(|row| self.row(row).len()).max().unwrap_or(0)
    }

    /// Fails unless each of `rows` rows has a key, and all keys are among `keys`.
    pub(crate) fn check(&self, rows: usize, keys: usize) -> Result<()> {
        if self.len() != rows || (0..rows).any(|row| self.row(row).is_empty()) {
            bail!("prefix attention: {rows} rows need as many chains, none of them empty");
        }
        if self.keys.iter().any(|&key| key as usize >= keys) {
            bail!("prefix attention: a chain names a key that is not among the {keys}");
        }
        Ok(())
    }
}
