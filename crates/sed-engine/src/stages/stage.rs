//! The stages of the engine, and the units of their batches.

use super::Level;

/// The stages that a request goes through inside the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Categories to text embeddings.
    TextEmbedding,
    /// Image to features.
    Encode,
    /// Features and text embeddings to pairs, and rejection before level 1.
    CostMap,
    /// A decoder level; behind all but the last the rejection before the next.
    Decode(Level),
    /// Scores to the index map.
    Finish,
}

impl Stage {
    /// Their number.
    pub const COUNT: usize = 4 + Level::COUNT;
    /// All stages, in order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::TextEmbedding,
        Self::Encode,
        Self::CostMap,
        Self::Decode(Level::One),
        Self::Decode(Level::Two),
        Self::Decode(Level::Three),
        Self::Finish,
    ];

    /// Its place in lists of all stages.
    pub fn index(self) -> usize {
        match self {
            Self::TextEmbedding => 0,
            Self::Encode => 1,
            Self::CostMap => 2,
            Self::Decode(level) => 3 + level.index(),
            Self::Finish => 3 + Level::COUNT,
        }
    }

    /// Returns the stage that follows; `None` behind the last.
    pub(crate) fn next(self) -> Option<Self> {
        Self::ALL.get(self.index() + 1).copied()
    }

    /// A stable name in snake case, for logs and error metadata.
    pub fn name(self) -> &'static str {
        match self {
            Self::TextEmbedding => "text_embedding",
            Self::Encode => "encode",
            Self::CostMap => "cost_map",
            Self::Decode(Level::One) => "decode_level_1",
            Self::Decode(Level::Two) => "decode_level_2",
            Self::Decode(Level::Three) => "decode_level_3",
            Self::Finish => "finish",
        }
    }
}

/// The unit in which a batch is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Images, of an encoder batch.
    Images,
    /// (Image, category) pairs, of a batch of any later stage.
    Pairs,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_know_their_places() {
        assert_eq!(
            Stage::ALL.map(Stage::index),
            std::array::from_fn::<_, { Stage::COUNT }, _>(|index| index)
        );
        let from_first = std::iter::successors(Some(Stage::ALL[0]), |stage| stage.next());
        assert_eq!(from_first.collect::<Vec<_>>(), Stage::ALL);
    }
}
