//! A gauge to which every device of the process adds its part.

use super::Gauge;

/// One part of a gauge; it is taken away again when it is dropped.
#[derive(Debug)]
pub(crate) struct GaugeShare {
    gauge: &'static Gauge,
    held: f64,
}

impl GaugeShare {
    /// A part of `value`.
    pub(crate) fn new(gauge: &'static Gauge, value: f64) -> Self {
        let mut share = Self { gauge, held: 0.0 };
        share.set(value);
        share
    }

    /// Changes the part.
    pub(crate) fn set(&mut self, value: f64) {
        self.gauge.add(value - self.held);
        self.held = value;
    }
}

impl Drop for GaugeShare {
    fn drop(&mut self) {
        self.set(0.0);
    }
}
