//! Labels of metrics, each with all values that it can have.

/// A label's key and all its values.
pub type LabelValues = (&'static str, Vec<&'static str>);

/// One label: a key and its values.
pub trait Label: Copy + PartialEq + 'static {
    /// The key.
    const KEY: &'static str;
    /// All values.
    const ALL: &'static [Self];

    /// The value as it is shown.
    fn as_str(self) -> &'static str;
}

/// The labels of one family: none, one, or two.
pub trait Labels: 'static {
    /// The keys, each with all its values.
    fn keys() -> Vec<LabelValues>;

    /// The number of this combination among all, of which the last label's values are next to each other.
    fn index(self) -> usize;
}

impl Labels for () {
    fn keys() -> Vec<LabelValues> {
        Vec::new()
    }

    fn index(self) -> usize {
        0
    }
}

impl<A: Label> Labels for A {
    fn keys() -> Vec<LabelValues> {
        vec![(A::KEY, A::ALL.iter().map(|value| value.as_str()).collect())]
    }

    fn index(self) -> usize {
        A::ALL.iter().position(|value| *value == self).unwrap_or(0) // all values are among them
    }
}

impl<A: Label, B: Label> Labels for (A, B) {
    fn keys() -> Vec<LabelValues> {
        [A::keys(), B::keys()].concat()
    }

    fn index(self) -> usize {
        self.0.index() * B::ALL.len() + self.1.index()
    }
}

/// Defines an enum that is a label: one list gives the values, their text, and the list of all.
#[macro_export]
macro_rules! label {
    ($(#[$doc:meta])* $visible:vis $name:ident: $key:literal { $($value:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $visible enum $name {
            $(#[doc = concat!("`", $text, "`")] $value,)*
        }

        impl $crate::Label for $name {
            const KEY: &'static str = $key;
            const ALL: &'static [Self] = &[$(Self::$value),*];

            fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)*
                }
            }
        }
    };
}
