//! The levels of the decoder.

use std::fmt;

/// A level of the decoder (SED section 3.3): each doubles the side of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// From the encoder's coarsest map to twice its side.
    One,
    /// To four times its side.
    Two,
    /// To eight times its side.
    Three,
}

impl Level {
    /// All levels, in the order in which they run.
    pub const ALL: [Self; 3] = [Self::One, Self::Two, Self::Three];
    /// Their number.
    pub const COUNT: usize = Self::ALL.len();

    /// 1, 2 or 3, as papers and answers count.
    pub fn number(self) -> u32 {
        self as u32 + 1
    }

    /// 0, 1 or 2, its place in lists of all levels.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Returns the level that follows; `None` behind the last.
    pub fn next(self) -> Option<Self> {
        match self {
            Self::One => Some(Self::Two),
            Self::Two => Some(Self::Three),
            Self::Three => None,
        }
    }

    /// Reports whether its result is the network's.
    pub fn is_last(self) -> bool {
        self.next().is_none()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_follow_each_other() {
        let from_first = std::iter::successors(Some(Level::ALL[0]), |level| level.next());
        assert_eq!(from_first.collect::<Vec<_>>(), Level::ALL);
        assert_eq!(Level::ALL.map(Level::index), [0, 1, 2]);
        assert_eq!(Level::ALL.map(|level| level.to_string()), ["1", "2", "3"]);
        assert_eq!(Level::ALL.map(Level::is_last), [false, false, true]);
    }
}
