"""Pieces of PromQL that the panels share. Every query is narrowed to what the dashboard's variables choose."""

CHOSEN = 'namespace=~"$namespace", job=~"$job", instance=~"$instance"'
CHOSEN_JOBS = 'namespace=~"$namespace", job=~"$job"'


def of(metric: str, *matchers: str) -> str:
    """A metric of the chosen servers."""
    return f"{metric}{{{', '.join((CHOSEN, *matchers))}}}"


def of_jobs(recorded: str, *matchers: str) -> str:
    """A series of the recording rules, which knows no single servers."""
    return f"{recorded}{{{', '.join((CHOSEN_JOBS, *matchers))}}}"


def rate(metric: str, *matchers: str) -> str:
    """The growth of a counter per second."""
    return f"rate({of(metric, *matchers)}[$__rate_interval])"


def total(expr: str, by: str = "") -> str:
    """The sum over all series, or over those that agree in these labels."""
    return f"sum by ({by}) ({expr})" if by else f"sum({expr})"


def ratio(part: str, whole: str) -> str:
    """A share; a gap where there is nothing to have a share of."""
    return f"{part} / ({whole} > 0)"


def mean(histogram: str, by: str = "", *matchers: str) -> str:
    """The mean of the values in a histogram."""
    sums, counts = rate(f"{histogram}_sum", *matchers), rate(f"{histogram}_count", *matchers)
    return ratio(total(sums, by), total(counts, by))


def quantile(share: float, histogram: str, by: str = "", *matchers: str) -> str:
    """A quantile as a histogram's buckets tell it: exact to the bucket, and a straight line within."""
    labels = ", ".join(filter(None, [by, "le"]))
    return f"histogram_quantile({share}, {total(rate(f'{histogram}_bucket', *matchers), labels)})"


def spread(histogram: str, *matchers: str) -> str:
    """The increase of each bucket, for a heat map."""
    return f"sum by (le) (increase({of(f'{histogram}_bucket', *matchers)}[$__rate_interval]))"


def hits(cache: str) -> str:
    """The share of look-ups that found what they sought."""
    found, missed = total(rate(f"sed_{cache}_cache_hits_total")), total(rate(f"sed_{cache}_cache_misses_total"))
    return ratio(found, f"({found} + {missed})")
