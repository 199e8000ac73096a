//! A gauge to which several holders add their parts.

/// One part of a gauge; it is taken away again when it is dropped.
#[derive(Debug)]
pub struct GaugeShare {
    gauge: metrics::Gauge,
    held: f64,
}

impl GaugeShare {
    pub(crate) fn new(gauge: &metrics::Gauge, value: f64) -> Self {
        let mut share = Self { gauge: gauge.clone(), held: 0.0 };
        share.set(value);
        share
    }

    /// Changes the part.
    pub fn set(&mut self, value: f64) {
        self.gauge.increment(value - self.held);
        self.held = value;
    }
}

impl Drop for GaugeShare {
    fn drop(&mut self) {
        self.set(0.0);
    }
}
