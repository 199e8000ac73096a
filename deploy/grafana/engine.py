"""The rows about the work itself: batches, stages, rejection, caches, device, replicas."""

from panels import GREEN, RED, YELLOW, Json, dashed, heat, lines, now, number, query, states, steps, table
from promql import hits, mean, of, quantile, rate, ratio, spread, total

PAIRS = 'unit="pairs"'
ON_DEVICE = 'stage!~"image_decode|mask_encoding"'


def batches() -> list[Json]:
    return [
        lines(
            "Images of a batch, mean",
            "none",
            "By stage. 1 all the time on a GPU with load: clients are too few, or each waits for its last answer.",
            query(mean("sed_batch_images", "stage", 'stage!="text_embedding"'), "{{stage}}"),
        ),
        lines(
            "Pairs of a batch, mean",
            "none",
            "(Image, category) pairs by stage; phrases for text_embedding.",
            query(mean("sed_batch_pairs", "stage", 'stage!="encode"'), "{{stage}}"),
            query(f"max({of('sed_batch_budget', PAIRS)})", "budget"),
            overrides=(dashed("budget"),),
        ),
        heat(
            "Images of an encoder batch, spread",
            "none",
            "How well single pictures are brought together.",
            spread("sed_batch_images", 'stage="encode"'),
        ),
        lines(
            "Why batches were launched",
            "ops",
            "idle: the device had nothing else to do. full: load reaches the budget. "
            "delay: batch_delay_ms made a batch wait as long as it may.",
            query(total(rate("sed_batch_flush_total"), "reason"), "{{reason}}"),
            stacked=True,
        ),
        lines(
            "Submissions",
            "ops",
            "Only on a GPU: launches of whole requests, all stages at once. Good: all answered. out_of_memory: its "
            "requests went stage by stage instead, and the next ones are smaller. failed: see the server's log.",
            query(total(rate("sed_submissions_total"), "outcome"), "{{outcome}}"),
            stacked=True,
        ),
        lines(
            "Whole or stage by stage",
            "ops",
            "Launches that ended in maps: submissions, and batches of the last stage alone. Bad on a GPU: stage by stage, "
            "though nothing was run again for lack of memory. Requests are then larger than the budget, or want score "
            "maps.",
            query(total(rate("sed_submissions_total", 'outcome="answered"')), "whole"),
            query(total(rate("sed_batch_flush_total", 'stage="finish"')), "stage by stage"),
            query(total(rate("sed_batch_retries_total", 'cause="out_of_memory"')), "again for lack of memory"),
        ),
        lines(
            "Run again in parts",
            "ops",
            "Good: none. out_of_memory: the budget was too large for the memory. bisect: a "
            "request made its batch fail and is looked for.",
            query(total(rate("sed_batch_retries_total"), "cause"), "{{cause}}"),
        ),
        lines(
            "Budget",
            "none",
            "The most that one batch may hold. Bad: it falls; memory ran out, and it grows back slowly.",
            query(f"min by (unit) ({of('sed_batch_budget')})", "{{unit}}"),
        ),
    ]


def stages() -> list[Json]:
    duration, wait = "sed_stage_duration_seconds", "sed_stage_wait_seconds"
    return [
        lines(
            "Where the device's time goes",
            "percentunit",
            "Device seconds a second, by stage; 100 % is one device that "
            "never rests. The largest area is where a faster model would help.",
            query(total(rate(f"{duration}_sum", ON_DEVICE), "stage"), "{{stage}}"),
            stacked=True,
            width=12,
        ),
        lines(
            "One batch of a stage, mean",
            "s",
            "For image_decode and mask_encoding one request. It grows with the "
            "batches: read it beside the pairs of a batch.",
            query(mean(duration, "stage"), "{{stage}}"),
            width=12,
        ),
        lines(
            "One batch of a stage, 95 of 100",
            "s",
            "Bad: text_embedding high for long; callers bring ever new words.",
            query(quantile(0.95, duration, "stage"), "{{stage}}"),
            width=12,
        ),
        lines(
            "Wait before a stage, mean",
            "s",
            "For those requests that waited for it. Bad: image_decode or mask_encoding "
            "above some milliseconds; cpu_threads are too few.",
            query(mean(wait, "stage"), "{{stage}}"),
            width=12,
        ),
    ]


def rejection() -> list[Json]:
    levels = "sed_category_level_total"
    rejected = total(rate(levels, 'outcome="rejected"'), "level")
    survivors = total(rate("sed_categories_survived_sum"), "level")
    return [
        lines(
            "Categories of a request, mean",
            "none",
            "Asked for, and worked on by each decoder level. The gap between the lines is work that rejection saves.",
            query(mean("sed_categories_requested"), "asked for"),
            query(mean("sed_categories_survived", "level"), "level {{level}}"),
        ),
        lines(
            "Rejected before a level",
            "percentunit",
            "Of the categories that came up for it. Little at level 1 with large "
            "vocabularies: callers ask for a high top_k, or for none.",
            query(ratio(rejected, total(rate(levels), "level")), "level {{level}}"),
            highest=1,
        ),
        heat(
            "Categories of a request, spread",
            "none",
            "Which vocabularies are in use.",
            spread("sed_categories_requested"),
        ),
        lines(
            "Pairs decoded a second",
            "none",
            "Survivors by level: the decoder's real load.",
            query(survivors, "level {{level}}"),
        ),
        lines(
            "Categories of a request, 95 of 100",
            "none",
            "Large vocabularies fill the budget of pairs by themselves.",
            query(quantile(0.95, "sed_categories_requested"), "asked for"),
            query(quantile(0.95, "sed_categories_survived", "level"), "level {{level}}"),
            width=16,
        ),
    ]


def caches() -> list[Json]:
    kinds = ["text", "vocabulary", "image"]

    def each(make: str, kind: str) -> str:
        return total(rate(f"sed_{kind}_cache_{make}_total"))

    filled = [
        ratio(total(of(f"sed_{kind}_cache_bytes")), total(of(f"sed_{kind}_cache_capacity_bytes"))) for kind in kinds
    ]
    return [
        lines(
            "Found in the cache",
            "percentunit",
            "Of the look-ups. text by phrase, vocabulary and image by request. Bad: "
            "text below 90 % for long. New pictures are always missing.",
            *(query(hits(kind), kind) for kind in kinds),
            highest=1,
        ),
        lines(
            "Filled",
            "percentunit",
            "Of the bytes that each may take. A full cache is no fault while little of what is put out is missed.",
            *(query(expr, kind) for kind, expr in zip(kinds, filled, strict=True)),
            highest=1,
        ),
        lines(
            "Put out",
            "ops",
            "What made room for others. Bad: text or vocabulary steadily, with few hits: give "
            "text_cache_bytes or vocabulary_cache_bytes more.",
            *(query(each("evictions", kind), kind) for kind in kinds),
            query(total(rate("sed_text_store_evictions_total")), "files of the folder"),
            query(total(rate("sed_registered_vocabulary_evictions_total")), "registered vocabularies"),
        ),
        lines(
            "New words",
            "ops",
            "Phrases embedded or read from the shared folder, a second. Each costs device time.",
            query(each("misses", "text"), "missing"),
            query(total(rate("sed_text_store_reads_total")), "read from the folder"),
            query(total(rate("sed_text_store_writes_total")), "written to the folder"),
        ),
        lines(
            "Damaged files",
            "ops",
            "Files of text embeddings that were found damaged and computed again, and calls on their folder that hung. "
            "Good: none.",
            query(total(rate("sed_text_store_damaged_total"), "pod, instance"), "damaged {{pod}} {{instance}}"),
            query(total(rate("sed_text_store_timeouts_total"), "pod, instance"), "hung {{pod}} {{instance}}"),
        ),
        lines(
            "Entries",
            "none",
            "What is held, and the vocabularies that clients have registered.",
            *(query(total(of(f"sed_{kind}_cache_entries")), kind) for kind in kinds),
            query(total(of("sed_registered_vocabularies")), "registered"),
        ),
        lines(
            "Words being prepared",
            "none",
            "Vocabularies that are embedded in the background of all requests, and their phrases that are left. Bad: what "
            "is left does not fall for minutes; requests leave the device no time for it.",
            query(total(of("sed_preparing_phrases")), "phrases left"),
            query(total(of("sed_preparations")), "vocabularies"),
            width=12,
        ),
        lines(
            "Waiting for words",
            "ops",
            "Requests refused because their words are not ready, and phrases embedded in the background, a second. A first "
            "contact with many new words shows so for some minutes. Bad: for long (SedWordsNotReady).",
            query(total(rate("sed_requests_rejected_total", 'reason="vocabulary_not_ready"')), "refused"),
            query(total(rate("sed_prepared_phrases_total")), "phrases prepared"),
            width=12,
        ),
    ]


def device() -> list[Json]:
    return [
        lines(
            "Busy",
            "percentunit",
            "By server; several devices add up. Bad: 100 % while the queue wait rises. Bad too: low "
            "while it rises; then decoding or the network holds the work up.",
            query(rate("sed_device_busy_seconds_total"), "{{pod}} {{instance}}"),
        ),
        lines(
            "Launches that failed",
            "ops",
            "Good: none. lost: the device is gone. out_of_memory: tried again in parts. not_finite, "
            "failed and panic: see the log.",
            query(total(rate("sed_device_errors_total"), "kind"), "{{kind}}"),
        ),
        lines(
            "Restarts and panics",
            "none",
            "Within ten minutes. Good: none; each panic is a bug.",
            query(total(f"increase({of('sed_device_restarts_total')}[10m])"), "restarts of the device thread"),
            query(total(f"increase({of('sed_panics_total')}[10m])"), "panics"),
        ),
    ]


def replicas() -> list[Json]:
    about = (
        f"{of('sed_model_ready')} * on (job, instance) group_left (name, digest, dtype, device) {of('sed_model_info')} "
        f"* on (job, instance) group_left (version) {of('sed_build_info')}"
    )
    columns = {
        "pod": "pod",
        "instance": "instance",
        "Value #A": "ready",
        "version": "version",
        "name": "model",
        "digest": "digest",
        "dtype": "format",
        "device": "device",
        "Value #B": "warm-up",
        "Value #C": "loading",
    }
    expiry = f"min({of('sed_tls_certificate_expiry_timestamp_seconds')} > 0) - time()"
    return [
        table(
            "Replicas",
            "none",
            "Bad: ready is 0; several digests or formats among replicas that should be the same; "
            "several versions long after a rollout.",
            columns,
            now(about),
            now(of("sed_warmup_seconds")),
            now(of("sed_model_load_seconds")),
            units={"Value #B": "s", "Value #C": "s"},
        ),
        states(
            "Ready",
            "none",
            "By server. Gaps: it gave no metrics.",
            query(of("sed_model_ready"), "{{pod}} {{instance}}"),
            {"0": ("not ready", RED), "1": ("ready", GREEN)},
        ),
        states(
            "Alerts",
            "none",
            "Those of deploy/prometheus/rules.yaml that fired, or were about to (pending). Empty: none.",
            query(
                'max by (alertname, alertstate, severity) (ALERTS{alertname=~"Sed.+"})',
                "{{alertname}} {{severity}} {{alertstate}}",
            ),
            {"1": ("on", YELLOW)},
        ),
        number(
            "Certificate ends in",
            "s",
            "Of the server whose certificate ends first. Bad: less than two weeks; nothing renews it. none: no TLS.",
            query(expiry, "left"),
            steps((None, RED), (2 * 86400, YELLOW), (14 * 86400, GREEN)),
            width=6,
            height=8,
        ),
        lines(
            "Servers by version",
            "none",
            "A rollout is one line that falls and one that rises.",
            query(f"count by (version) ({of('sed_build_info')})", "{{version}}"),
            width=18,
        ),
    ]
