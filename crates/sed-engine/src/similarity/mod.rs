//! Comparison of words by their text embeddings: pure functions over one direction for each category.
//!
//! Both rules measure how close two categories are as a share of the way from a typical pair (0) to one and
//! the same word (1): `(similarity - typical) / (1 - typical)`. What is typical differs from model to model,
//! because CLIP's text embeddings all point more or less the same way; the share does not. The squared
//! distance of two unit vectors is twice what their similarity lacks of 1, so a share of 3/4 is half the
//! typical distance. `deploy/WORDS.md` has the figures.

mod close;
mod directions;
mod far;
mod typical;

pub use close::{CategoryPair, ClosestPairs};
pub use directions::{Directions, Similarity};
pub use far::far_from;
