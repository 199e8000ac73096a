"""Do dashboard, rules and runbooks speak of what there is?

Every metric, label and label value of every query must stand in METRICS.md or be made by a rule, every query must be
PromQL by the grammar of Prometheus 3, every panel must say what to look at, every alert must have its runbook.
"""

import re
import sys
from collections.abc import Iterator

import promql_parser as promql

import documents
from documents import Query

# Prometheus' own, and what service discovery adds.
KNOWN_METRICS = {"up", "ALERTS"}
KNOWN_LABELS = {"namespace", "job", "instance", "pod", "le", "alertname", "alertstate", "severity"}


def selectors(expr: str) -> Iterator[promql.VectorSelector]:
    """All selectors of series in a query."""
    found: list[promql.VectorSelector] = []

    def visit(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector):
            found.append(node)

    promql.walk(promql.parse(expr), visit)
    yield from found


def wrong_values(matcher: promql.Matcher, known: list[str]) -> list[str]:
    """The values of a matcher that no series can have."""
    if matcher.op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual):
        return [] if matcher.value in known else [matcher.value]
    # Each alternative at the top level must have a meaning of its own.
    alternatives = re.split(r"\|(?![^()]*\))", matcher.value)
    return [each for each in alternatives if not any(re.fullmatch(each, value) for value in known)]


def faults(query: Query, served: dict[str, documents.Metric], recorded: set[str]) -> Iterator[str]:
    for selector in selectors(documents.substituted(query.expr, 60)):
        name = selector.name
        if name in recorded or name in KNOWN_METRICS:
            continue
        if name not in served:
            yield f"{query.where}: there is no {name}"
            continue
        for matcher in selector.matchers.matchers:
            metric = served[name]
            if matcher.name == "le":
                known = [f"{bound:g}" for bound in metric.buckets]
            elif matcher.name in KNOWN_LABELS or metric.labels.get(matcher.name) == []:
                continue
            else:
                known = metric.labels.get(matcher.name, [])
            for value in wrong_values(matcher, known):
                yield f"{query.where}: {name} has no {matcher.name} {value!r}"
    labels = set().union(*(metric.labels for metric in served.values())) | KNOWN_LABELS
    for clause in re.findall(r"\b(?:by|without|on|ignoring|group_left)\s*\(([\w, ]*)\)", query.expr):
        for label in filter(None, (label.strip() for label in clause.split(","))):
            if label not in labels:
                yield f"{query.where}: there is no label {label}"


def panel_faults(panel: dict) -> Iterator[str]:
    title = panel["title"]
    if len(panel["description"]) < 20:
        yield f"panel {title}: the description does not say what to look at"
    if not panel["fieldConfig"]["defaults"].get("unit") and not panel["options"].get("yAxis", {}).get("unit"):
        yield f"panel {title}: no unit"


def runbook_faults(alerts: list[dict]) -> Iterator[str]:
    sections = re.split(r"^## ", documents.RUNBOOKS.read_text(), flags=re.M)[1:]
    texts = {section.splitlines()[0].strip(): section for section in sections}
    names = {rule["alert"] for rule in alerts}
    yield from (f"RUNBOOKS.md: {name} is no alert" for name in texts if name not in names)
    shown = {panel["title"] for panel in documents.panels()}
    shown |= {query.where.removeprefix("annotation ") for query in documents.annotations()}
    for text in re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", documents.RUNBOOKS.read_text()):
        if " ".join(text.split()) not in shown:
            yield f"RUNBOOKS.md: the dashboard has nothing with the name {text!r}"
    for rule in alerts:
        name, notes = rule["alert"], rule["annotations"]
        section = texts.get(name, "")
        for part in ["**Meaning.**", "**First look.**", "**Fix.**"]:
            if part not in section:
                yield f"RUNBOOKS.md: {name} has no {part}"
        if notes["runbook_url"] != f"RUNBOOKS.md#{name.lower()}":
            yield f"alert {name}: runbook_url does not lead to its section"
        if rule["labels"]["severity"] not in ("critical", "warning", "info"):
            yield f"alert {name}: unknown severity"
        if not notes["summary"] or not notes["description"]:
            yield f"alert {name}: summary and description are both needed"


def main() -> None:
    rules, panels = documents.rules(), documents.panels()
    recorded = {rule["record"] for rule in rules if "record" in rule}
    alerts = [rule for rule in rules if "alert" in rule]
    queries = [query for panel in panels for query in documents.panel_queries(panel)] + documents.annotations()
    queries += [Query(f"rule {rule.get('record') or rule['alert']}", rule["expr"]) for rule in rules]
    served = documents.metrics()
    found = [fault for query in queries for fault in faults(query, served, recorded)]
    found += [fault for panel in panels for fault in panel_faults(panel)]
    found += runbook_faults(alerts)
    used = {selector.name for query in queries for selector in selectors(documents.substituted(query.expr, 60))}
    found += [f"rule {name}: nothing uses it" for name in sorted(recorded - used - documents.for_autoscalers())]
    if found:
        sys.exit("\n".join(found))
    unseen = {
        name.removesuffix("_bucket") for name in served if name.endswith("_bucket") or served[name].kind != "histogram"
    }
    unseen -= {re.sub("_(bucket|sum|count)$", "", name) for name in used}
    counts = f"{len(panels)} panels, {len(alerts)} alerts with runbooks, {len(recorded)} recorded series"
    print(f"{len(queries)} queries of {counts} name only what METRICS.md has, labels and values too")
    print("metrics on no panel and in no rule:", *sorted(unseen or {"none"}))


if __name__ == "__main__":
    main()
