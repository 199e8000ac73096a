//! The comparison of the clients' accounts with the server's counters.

use sed_server::metrics::CountedMethod;
use sed_telemetry::Label;

use crate::{
    calls::Shared,
    counters::Counters,
    serve::Ended,
    tally::{Account, Tally},
    watch::Sample,
    wrong,
};

/// A shorter load need not have met everything.
const AMPLE_LOAD: u64 = 5000;
/// Descriptors and threads that an idle server may have beyond those before the load: of the look itself, and a thread
/// for files that has not ended yet.
const IDLE_SLACK: u64 = 2;

/// Compares the accounts with the counters of an idle server. Returns how many of the calls that were given up the server
/// has counted.
pub(crate) fn counters(shared: &Shared, counters: &Counters) -> u64 {
    let mut tally = shared.tally();
    let mut heard = 0;
    let mut found = Vec::new();
    let nothing = Account::default();
    let mut settle = |what: &str, account: &Account, metric: &str, labels: &str| match account
        .settle(&counters.by_last_label(metric, labels))
    {
        Ok(beyond) => beyond,
        Err(why) => {
            found.push(format!("{what}: {why}"));
            0
        }
    };
    for method in CountedMethod::ALL.iter().map(|method| method.as_str()) {
        let account = tally.methods.get(method).unwrap_or(&nothing);
        heard += settle(method, account, "sed_requests_total", &format!("method=\"{method}\","));
    }
    for (caller, account) in &tally.callers {
        let labels = format!("caller=\"{caller}\",");
        settle(caller, account, "sed_requests_by_caller_total", &labels);
    }
    settle("requests on streams", &tally.streamed, "sed_stream_requests_total", "");
    settle("refusals", &tally.refused, "sed_requests_rejected_total", "");
    found.extend(sums(counters));
    found.extend(leftovers(counters));
    if tally.requests() >= AMPLE_LOAD {
        found.extend(missing(&tally, counters));
    }
    found.into_iter().for_each(|violation| tally.violation(violation));
    heard
}

/// Counters that must agree with one another.
fn sums(counters: &Counters) -> Vec<String> {
    let calls = counters.sum("sed_requests_total");
    let with_token = calls - unauthenticated(counters);
    let mut found = Vec::new();
    for (what, one, other) in [
        ("calls and their times", calls, counters.sum("sed_request_duration_seconds_count")),
        ("calls with a token and calls by caller", with_token, counters.sum("sed_requests_by_caller_total")),
    ] {
        if one != other {
            found.push(format!("{what} differ: {one} and {other}"));
        }
    }
    for level in [2, 3] {
        let below = level - 1;
        let survived =
            counters.of(&format!("sed_category_level_total{{level=\"{below}\",outcome=\"survived\"}}"));
        let came = came_up(counters, level);
        // Requests that end between two levels are missing from the second.
        if came > survived {
            found.push(format!(
                "level {level} saw {came} categories, of which {survived} survived level {below}"
            ));
        }
    }
    found
}

fn unauthenticated(counters: &Counters) -> f64 {
    let of = |method: &CountedMethod| {
        let method = method.as_str();
        counters.of(&format!("sed_requests_total{{method=\"{method}\",code=\"UNAUTHENTICATED\"}}"))
    };
    CountedMethod::ALL.iter().map(of).sum()
}

fn came_up(counters: &Counters, level: u32) -> f64 {
    let of = |outcome: &str| {
        counters.of(&format!("sed_category_level_total{{level=\"{level}\",outcome=\"{outcome}\"}}"))
    };
    of("survived") + of("rejected")
}

/// Lists things that an idle server holds and should not.
fn leftovers(counters: &Counters) -> Vec<String> {
    let mut found = counters.unfinished();
    let registered = counters.of("sed_registered_vocabularies");
    if registered != 0.0 {
        found.push(format!("{registered} vocabularies are registered although all were deleted"));
    }
    for cache in ["text", "vocabulary", "image"] {
        let held = counters.of(&format!("sed_{cache}_cache_bytes"));
        let most = counters.of(&format!("sed_{cache}_cache_capacity_bytes"));
        if held > most {
            found.push(format!("the {cache} cache holds {held} bytes, more than {most}"));
        }
    }
    found
}

/// Lists events that an ample load should have met and has not.
fn missing(tally: &Tally, counters: &Counters) -> Vec<String> {
    let mut found = Vec::new();
    let wrong = wrong::all().into_iter().map(|wrong| wrong.reason);
    for reason in wrong {
        if tally.seen(reason) == 0 {
            found.push(format!("no request was refused with {}", sed_server::reason_name(reason)));
        }
    }
    for cache in ["text", "vocabulary", "image"] {
        if counters.of(&format!("sed_{cache}_cache_evictions_total")) == 0.0 {
            found.push(format!("the {cache} cache was never full"));
        }
    }
    for metric in [
        "sed_text_store_reads_total",
        "sed_text_store_writes_total",
        "sed_batch_retries_total",
        "sed_registered_vocabulary_evictions_total",
    ] {
        if counters.sum(metric) == 0.0 {
            found.push(format!("{metric} is 0"));
        }
    }
    let segment = &tally.methods["Segment"];
    let (good, all) = (segment.answered.get("OK").copied().unwrap_or(0), segment.total());
    if good < all / 3 {
        found.push(format!("only {good} of {all} calls were answered well: the load is too hard"));
    }
    found.dedup();
    found
}

/// Compares the faults that the model had with those that the server counted.
pub(crate) fn faults(shared: &Shared, counters: &Counters, ended: &Ended) {
    let mut tally = shared.tally();
    if !ended.complete {
        tally.violation("the server ended before all was answered".into());
    }
    let counted = counters.by_last_label("sed_device_errors_total", "");
    if counted != ended.faults {
        tally.violation(format!("the model had the faults {:?}, counted were {counted:?}", ended.faults));
    }
    let panics = ended.faults.get("panic").copied().unwrap_or(0) as f64;
    if counters.of("sed_panics_total") != panics {
        let found = counters.of("sed_panics_total");
        tally.violation(format!("{found} panics were counted, {panics} drawn"));
    }
    if tally.requests() >= AMPLE_LOAD && ended.faults.len() < 4 {
        tally.violation(format!("the model had only the faults {:?}", ended.faults));
    }
}

/// Compares an idle server's descriptors and threads before and after the load.
pub(crate) fn idle(shared: &Shared, before: Option<Sample>, after: Option<Sample>) {
    let mut tally = shared.tally();
    let (Some(before), Some(after)) = (before, after) else {
        return tally.violation("the server had ended when it should have been idle".into());
    };
    for (what, before, after) in
        [("descriptors", before.descriptors, after.descriptors), ("threads", before.threads, after.threads)]
    {
        if after > before + IDLE_SLACK {
            tally.violation(format!("idle, the server has {after} {what}, and had {before} before the load"));
        }
    }
}
