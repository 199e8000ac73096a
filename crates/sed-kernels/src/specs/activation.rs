//! The functions that may follow a sum.

/// Function that is applied to a sum before it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// GELU in its exact form (with the error function).
    Gelu,
}
