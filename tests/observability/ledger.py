"""A client's counts of its own calls, under the names that the same counts should have in Prometheus."""

import threading
from collections import Counter

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

FRAME = 5  # bytes before each message on the wire


class Ledger:
    """Counts by PromQL selector; every selector is one series, or a sum of some that a client cannot tell apart."""

    def __init__(self, unsure: tuple[str, ...] = ()) -> None:
        """`unsure` are codes between which only the server knows which one a call got."""
        self.unsure = unsure
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()

    def add(self, selector: str, more: float = 1) -> None:
        with self.lock:
            self.counts[selector] += more

    def keep_calls(self) -> None:
        """Drops the counts that come from answers: a client without an answer does not know how far its request
        came."""
        calls = ("sed_requests_total", "sed_request_duration_seconds_count", "sed_requests_rejected_total")
        calls += ("sed_stream_requests_total",)
        self.counts = Counter({name: count for name, count in self.counts.items() if name.startswith(calls)})

    def histogram(self, name: str, value: float, labels: str = "") -> None:
        self.add(f"{name}_count{labels}")
        self.add(f"{name}_sum{labels}", value)

    def code(self, method: str, code: str) -> None:
        """A call that has ended."""
        codes = "|".join(self.unsure) if code in self.unsure else code
        self.add(f'sed_requests_total{{method="{method}", code=~"{codes}"}}')
        outcome = "answered" if code == "OK" else "failed"
        self.add(f'sed_request_duration_seconds_count{{method="{method}", outcome="{outcome}"}}')

    def failed(self, method: str, error: grpc.RpcError) -> str:
        """A call that has failed; gives the reason, as METRICS.md writes it, or nothing where the server gave none."""
        self.code(method, error.code().name)
        reason = reason_of(error)
        if reason and reason != "deadline_exceeded":
            self.add(f'sed_requests_rejected_total{{reason="{reason}"}}')
        return reason

    def stream_code(self, code: str) -> None:
        """A request on a stream that has ended."""
        codes = "|".join(self.unsure) if code in self.unsure else code
        self.add(f'sed_stream_requests_total{{code=~"{codes}"}}')

    def failed_on_stream(self, error) -> str:
        """A request on a stream that has failed with this `StreamError`; gives the reason like `failed`."""
        self.stream_code(grpc_code(error.code))
        reason = reason_among(error.details)
        if reason and reason != "deadline_exceeded":
            self.add(f'sed_requests_rejected_total{{reason="{reason}"}}')
        return reason

    def answered(self, answer, sent_image: bool) -> None:
        """Counts what an answer reports of its own way through the server."""
        self.histogram("sed_categories_requested", len(answer.categories))
        for level in answer.rejection.levels:
            survivors, label = len(level.survivors), f'level="{level.level}"'
            self.histogram("sed_categories_survived", survivors, f"{{{label}}}")
            self.add(f'sed_category_level_total{{{label}, outcome="survived"}}', survivors)
            self.add(f'sed_category_level_total{{{label}, outcome="rejected"}}', level.candidates - survivors)
        latency = answer.latency
        self.add("sed_text_cache_hits_total", latency.text_cache_hits)
        self.add("sed_text_cache_misses_total", latency.text_cache_misses)
        self.add(f"sed_vocabulary_cache_{'hits' if latency.vocabulary_cache_hit else 'misses'}_total")
        self.add(f"sed_image_cache_{'hits' if latency.image_cache_hit else 'misses'}_total")
        if sent_image:
            self.histogram("sed_image_pixels", answer.image_size.width * answer.image_size.height)
        for stage in latency.stages:
            self.stage(stage, latency.image_cache_hit)

    def stage(self, stage, image_known: bool) -> None:
        """A stage; of a batch, each of its images tells its share, and all shares together are the batch.

        The batches of text_embedding belong to no single request. A known image that went through the encoder shared
        the place of the same picture of another request.
        """
        name = type(stage).DESCRIPTOR.fields_by_name["stage"].enum_type.values_by_number[stage.stage].name
        name = name.removeprefix("STAGE_").lower()
        label = f'{{stage="{name}"}}'
        if name == "text_embedding" or (name == "encode" and image_known):
            return
        if name in ("image_decode", "mask_encoding"):
            self.histogram("sed_stage_duration_seconds", seconds(stage.duration), label)
        for batch in stage.batches:
            share = 1 / batch.images
            self.add(f"sed_batch_images_count{label}", share)
            self.add(f"sed_batch_images_sum{label}", 1)
            self.add(f"sed_batch_pairs_sum{label}", batch.pairs * share)
            self.add(f"sed_stage_duration_seconds_sum{label}", seconds(batch.device_time) * share)


def seconds(duration) -> float:
    return duration.seconds + duration.nanos / 1e9


def reason_of(error: grpc.RpcError) -> str:
    """The reason of google.rpc.ErrorInfo, in the words of the metric `sed_requests_rejected_total`."""
    status = rpc_status.from_call(error)
    return reason_among(status.details if status else [])


def grpc_code(number: int) -> str:
    """The name of a status code."""
    return next(code.name for code in grpc.StatusCode if code.value[0] == number)


def reason_among(details) -> str:
    """The same of the details of a status."""
    for detail in details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            own = {"FIELD_MISSING", "VOCABULARY_EMPTY", "CATEGORY_NAME_INVALID", "CATEGORY_DUPLICATE", "OPTION_INVALID"}
            own |= {"VOCABULARY_BUILT_IN", "VOCABULARY_NOT_OWNED", "STREAM_ID_INVALID", "REQUEST_MALFORMED"}
            return "invalid" if info.reason in own else info.reason.lower()
    return ""
