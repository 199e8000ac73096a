"""The rows about calls: how it goes, traffic, latency, objectives, the queue."""

from panels import GREEN, RED, YELLOW, Json, coloured, dashed, heat, lines, number, query, steps
from promql import mean, of, of_jobs, quantile, rate, ratio, spread, total

SEGMENT = 'method=~"Segment|ModelInfer", outcome="answered"'


def overview() -> list[Json]:
    answered, asked, excused = (
        total(f"increase({metric}[$__range])")
        for metric in [
            of("instance:sed_segment_answered:total"),
            of("instance:sed_segment_asked:total"),
            of("instance:sed_segment_excused:total"),
        ]
    )
    return [
        number(
            "Replicas ready",
            "none",
            "Servers whose model answers. Bad: fewer than were deployed.",
            query(total(of("sed_model_ready")), "ready"),
            steps((None, RED), (1, GREEN)),
        ),
        number(
            "Alerts firing",
            "none",
            "Alerts of deploy/prometheus/rules.yaml that fire now, of all severities. What to do "
            "about each stands in RUNBOOKS.md.",
            query('count(ALERTS{alertname=~"Sed.+", alertstate="firing"}) or vector(0)', "alerts"),
            steps((None, GREEN), (1, YELLOW), (3, RED)),
        ),
        number(
            "Pictures",
            "reqps",
            "Segmented a second, on streams and in single calls.",
            query(total(rate("sed_stage_duration_seconds_count", 'stage="mask_encoding"')), "pictures"),
            steps((None, GREEN)),
        ),
        number(
            "Answered",
            "percentunit",
            "Calls for masks and requests on streams that were answered, of those that were sound in "
            "themselves, over the shown time. Bad: below the objective (99.5 %).",
            query(ratio(answered, f"({asked} - {excused})"), "answered"),
            steps((None, RED), (0.995, YELLOW), (0.999, GREEN)),
        ),
        number(
            "Latency, 95 of 100",
            "s",
            "95 of 100 answers to Segment come within this time. Bad: near the objective's time (2.5 s).",
            query(quantile(0.95, "sed_request_duration_seconds", "", SEGMENT), "p95"),
            steps((None, GREEN), (1.5, YELLOW), (2.5, RED)),
        ),
        number(
            "Queue wait, 95 of 100",
            "s",
            "95 of 100 requests begin within this time. It is what more replicas make shorter: the figure to scale on.",
            query(quantile(0.95, "sed_queue_wait_seconds"), "p95"),
            steps((None, GREEN), (0.5, YELLOW), (2, RED)),
        ),
        number(
            "Fullest queue",
            "percentunit",
            "By requests or by pairs, whichever is fuller. Bad: above 80 %; a full queue refuses.",
            query(f"max({of('instance:sed_queue:filled_ratio')})", "filled"),
            steps((None, GREEN), (0.5, YELLOW), (0.8, RED)),
        ),
        number(
            "Device busy",
            "percentunit",
            "Mean over the chosen servers. Nothing is wrong with a busy device while the queue "
            "is short. Several devices in one server add up.",
            query(f"avg({rate('sed_device_busy_seconds_total')})", "busy"),
            steps((None, GREEN)),
        ),
    ]


def traffic() -> list[Json]:
    return [
        lines(
            "Calls by method",
            "reqps",
            "All calls that ended, whatever their end. A stream is one call, counted when it ends.",
            query(total(rate("sed_requests_total"), "method"), "{{method}}"),
            stacked=True,
        ),
        lines(
            "Calls by code",
            "reqps",
            "Bad: INTERNAL and UNKNOWN (bugs), UNAVAILABLE (no model), RESOURCE_EXHAUSTED (too "
            "much load), DEADLINE_EXCEEDED. Others are the callers' own doing.",
            query(f"{total(rate('sed_requests_total'), 'code')} > 0", "{{code}}"),
            stacked=True,
            overrides=(coloured("OK", GREEN), coloured("INTERNAL", RED)),
        ),
        lines(
            "Refusals",
            "reqps",
            "Calls and requests on streams refused before the device worked on them, by reason. Bad: queue_full, "
            "deadline_unreachable and memory_exhausted (scale), model_not_ready and device_lost (calls reach a replica "
            "that is not ready). Good: reconnect, a stream goes on over another connection; vocabulary_not_ready, for some "
            "minutes at a first contact with many new words.",
            query(f"{total(rate('sed_requests_rejected_total'), 'reason')} > 0", "{{reason}}"),
            stacked=True,
        ),
        lines(
            "Requests on streams",
            "reqps",
            "Ended, by code. Bad: the codes that are bad of calls.",
            query(f"{total(rate('sed_stream_requests_total'), 'code')} > 0", "{{code}}"),
            stacked=True,
            overrides=(coloured("OK", GREEN), coloured("INTERNAL", RED)),
        ),
        lines(
            "In flight",
            "none",
            "Calls that run now, requests on streams that are not answered yet, and what of both is worked on. "
            "Bad: worked on near the capacity; more waits half a second, then is refused.",
            query(total(of("sed_requests_in_flight")), "calls"),
            query(total(of("sed_stream_requests_in_flight")), "requests on streams"),
            query(total(of("sed_concurrent_requests")), "worked on"),
            query(total(of("sed_concurrent_requests_capacity")), "capacity"),
            overrides=(dashed("capacity"),),
        ),
        lines(
            "Given up",
            "reqps",
            "Requests dropped before a stage because their caller had gone or their deadline had passed: work saved. "
            "Bad: many with cause deadline; the server let in what it could not finish.",
            query(total(rate("sed_requests_abandoned_total"), "cause"), "{{cause}}"),
        ),
        lines(
            "Bytes",
            "Bps",
            "Of the messages of Segment and SegmentStream, counted when a call ends. Raw pixels and raw "
            "masks cost most.",
            query(total(rate("sed_request_bytes_sum")), "in"),
            query(total(rate("sed_response_bytes_sum")), "out"),
        ),
        lines(
            "Pixels of a picture",
            "short",
            "Decoding time grows with them; the network's own time does not.",
            query(mean("sed_image_pixels"), "mean"),
            query(quantile(0.95, "sed_image_pixels"), "95 of 100"),
        ),
        lines(
            "Calls by replica",
            "reqps",
            "Bad: one replica with much more than the others, as when clients keep one "
            "connection. Set max_connection_age_seconds, or let clients balance.",
            query(total(rate("sed_requests_total"), "pod, instance"), "{{pod}} {{instance}}"),
        ),
        lines(
            "Memory of requests",
            "bytes",
            "What requests and answers hold, and what they may. Bad: near the capacity for minutes, or near three "
            "quarters of it where callers have names and one has it all; more is refused.",
            query(of("sed_request_memory_bytes"), "{{pod}} {{instance}}"),
            query(f"max({of('sed_request_memory_capacity_bytes')})", "capacity"),
            width=12,
            overrides=(dashed("capacity"),),
        ),
        lines(
            "Transfers ended",
            "ops",
            "Uploads and answers that the server ended. Good: none. stalled: the client made no progress. crowded: it was "
            "the slowest when memory or places ran out.",
            query(total(rate("sed_transfers_ended_total"), "direction, cause"), "{{direction}} {{cause}}"),
            width=12,
        ),
    ]


def latency() -> list[Json]:
    name = "sed_request_duration_seconds"
    shares = [(0.5, "50 of 100"), (0.9, "90 of 100"), (0.95, "95 of 100"), (0.99, "99 of 100")]
    return [
        lines(
            "Segment",
            "s",
            "From a call's headers to the last byte of its answer, of calls that were answered. "
            "Bad: the upper lines leave the lower ones, a sign of queueing or of very different requests.",
            *(query(quantile(share, name, "", SEGMENT), text) for share, text in shares),
        ),
        heat(
            "Segment, spread",
            "s",
            "Each column is an instant, each row a bucket: two bands are two kinds of requests, such as "
            "pictures that are known and pictures that are new.",
            spread(name, SEGMENT),
        ),
        lines(
            "99 of 100 by method",
            "s",
            "Of answered calls. Streams last as long as their callers like. Bad: GetServerInfo and the calls "
            "for vocabularies above some milliseconds; the processor is short.",
            query(quantile(0.99, name, "method", 'outcome="answered"'), "{{method}}"),
        ),
    ]


def objectives() -> list[Json]:
    def burn(kind: str, objective: str) -> list[Json]:
        windows = ["5m", "1h", "6h", "3d"]
        budget = f"(1 - scalar(sed:{objective}:objective))"
        return [query(f"{of_jobs(f'job:sed_segment_{kind}:ratio_rate{each}')} / {budget}", each) for each in windows]

    pages = query("vector(14.4)", "bound of an hour"), query("vector(6)", "bound of six hours")
    return [
        lines(
            "Failed calls, as a rate of burning",
            "none",
            "1 is what the objective allows for a month; at 14.4 the month's "
            "budget is gone in two days. Windows are those of the alerts. By job, not by replica.",
            *burn("failed", "availability"),
            *pages,
            width=12,
            overrides=(dashed("bound.*"),),
        ),
        lines(
            "Slow calls, as a rate of burning",
            "none",
            "The same for Segment calls that take longer than the objective's time (2.5 s).",
            *burn("slow", "latency"),
            *pages,
            width=12,
            overrides=(dashed("bound.*"),),
        ),
    ]


def queue() -> list[Json]:
    wait = "sed_queue_wait_seconds"
    return [
        lines(
            "Requests that wait",
            "none",
            "For the device, by priority, as of each scrape. Bad: near the capacity for minutes.",
            query(total(of("sed_queue_depth"), "priority"), "{{priority}}"),
            query(total(of("sed_queue_capacity")), "capacity"),
            stacked=True,
            overrides=(dashed("capacity"),),
        ),
        lines(
            "Pairs that wait",
            "none",
            "(Image, category) pairs of these requests: their work. Bad: near the capacity with "
            "few requests; the vocabularies are large.",
            query(total(of("sed_queued_pairs")), "pairs"),
            query(total(of("sed_queued_pairs_capacity")), "capacity"),
            overrides=(dashed("capacity"),),
        ),
        lines(
            "Queue wait",
            "s",
            "From a request's arrival at the engine to its first launch. Bad: longer than the work "
            "itself; add replicas.",
            query(quantile(0.5, wait), "50 of 100"),
            query(quantile(0.95, wait), "95 of 100"),
            query(quantile(0.99, wait), "99 of 100"),
        ),
        heat(
            "Queue wait, spread",
            "s",
            "Bursts show as columns that reach high; lasting overload as a band that rises.",
            spread(wait),
            width=12,
        ),
        lines(
            "Queue wait by priority, mean",
            "s",
            "Bad: high waits as long as normal; too much is called urgent.",
            query(mean(wait, "priority"), "{{priority}}"),
            width=12,
        ),
    ]
