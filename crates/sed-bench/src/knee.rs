//! The knee of a sweep: the load above which throughput hardly grows.

/// The share by which a step's throughput must exceed the best one before it to move the knee.
const WORTH: f64 = 0.05;
/// Once throughput no longer grows, a sweep ends when the median latency is this many times that of the knee.
const WORSE: f64 = 2.0;

/// Throughput and latency of one step of a sweep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// Answers a second.
    pub(crate) throughput: f64,
    /// Median latency in milliseconds.
    pub(crate) latency: f64,
}

/// The state of a sweep after some of its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Index of the last step whose throughput exceeds that of every step before it by 5 %. `None`
    /// while nothing was answered.
    pub knee: Option<usize>,
    /// True when the sweep can end: the last step is past the knee and has twice its latency, or
    /// nothing was answered.
    pub over: bool,
}

/// Judges steps of rising load.
pub(crate) fn judge(steps: &[Step]) -> Verdict {
    let mut knee: Option<usize> = None;
    let mut best = 0.0;
    for (index, step) in steps.iter().enumerate() {
        if step.throughput > best * (1.0 + WORTH) {
            knee = Some(index);
        }
        best = step.throughput.max(best);
    }
    let over = match (knee, steps.last()) {
        (Some(knee), Some(last)) => {
            let nothing = last.throughput == 0.0;
            knee + 1 < steps.len() && (nothing || last.latency >= WORSE * steps[knee].latency)
        }
        (None, last) => last.is_some(),
        (Some(_), None) => false,
    };
    Verdict { knee, over }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A closed loop against a server with `slots` slots, which needs 100 ms for a request.
    fn closed(clients: &[f64], slots: f64) -> Vec<Step> {
        let step = |&clients: &f64| {
            let throughput = clients.min(slots) * 10.0;
            Step { throughput, latency: clients / throughput * 1e3 }
        };
        clients.iter().map(step).collect()
    }

    #[test]
    fn the_knee_is_where_the_slots_are_full() {
        let steps = closed(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0], 8.0);
        assert_eq!(judge(&steps), Verdict { knee: Some(3), over: true });
        // 16 clients on 8 slots: no more throughput at twice the latency.
        let ends = (1..=steps.len()).find(|&count| judge(&steps[..count]).over);
        assert_eq!(ends, Some(5));
    }

    #[test]
    fn a_server_with_one_slot_is_full_at_once() {
        assert_eq!(judge(&closed(&[1.0, 2.0], 1.0)), Verdict { knee: Some(0), over: true });
    }

    #[test]
    fn a_sweep_goes_on_while_latency_has_not_doubled() {
        let steps = closed(&[8.0, 10.0, 12.0], 8.0);
        assert_eq!(judge(&steps), Verdict { knee: Some(0), over: false });
    }

    #[test]
    fn small_gains_add_up_and_noise_does_not() {
        let steps = |throughputs: &[f64]| -> Vec<Step> {
            throughputs.iter().map(|&throughput| Step { throughput, latency: 10.0 }).collect()
        };
        // A dip and its recovery are no gain.
        assert_eq!(judge(&steps(&[10.0, 20.0, 18.0, 20.5])).knee, Some(1));
        assert_eq!(judge(&steps(&[10.0, 20.0, 18.0, 21.5])).knee, Some(3));
        // Several gains of 3 % are not worth a doubling of the load each.
        assert_eq!(judge(&steps(&[100.0, 103.0, 106.0])).knee, Some(0));
    }

    #[test]
    fn an_open_loop_that_overruns_is_behind_its_knee() {
        let steps = [(10.0, 50.0), (20.0, 60.0), (31.0, 90.0), (30.0, 4000.0)];
        let steps = steps.map(|(throughput, latency)| Step { throughput, latency });
        assert_eq!(judge(&steps), Verdict { knee: Some(2), over: true });
    }

    #[test]
    fn where_nothing_is_answered_there_is_no_knee() {
        let dead = Step { throughput: 0.0, latency: 0.0 };
        assert_eq!(judge(&[]), Verdict { knee: None, over: false });
        assert_eq!(judge(&[dead]), Verdict { knee: None, over: true });
        let steps = [Step { throughput: 5.0, latency: 9.0 }, dead];
        assert_eq!(judge(&steps), Verdict { knee: Some(0), over: true });
    }
}
