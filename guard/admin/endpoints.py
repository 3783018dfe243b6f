"""What serving endpoints say of themselves: whether they live, what they serve, how long it takes.

It is read from their health route and from the guard's metrics, and only from addresses that the
operator named.
"""

import asyncio
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import httpx

_QUANTILES = (0.5, 0.95, 0.99)
_MOST_BYTES = 8 << 20


async def look(client: httpx.AsyncClient, urls: Sequence[str]) -> list[dict[str, Any]]:
    """Asks endpoints how they are; each answer stands where its address does."""
    return list(await asyncio.gather(*(_one(client, url) for url in urls)))


async def _one(client: httpx.AsyncClient, url: str) -> dict[str, Any]:
    found: dict[str, Any] = {"url": url, "healthy": False, "error": None}
    try:
        found["healthy"] = (await client.get(f"{url}/health")).is_success
        reply = await client.get(f"{url}/metrics")
        if reply.is_success and len(reply.content) <= _MOST_BYTES:
            found |= read_metrics(reply.text)
        else:
            found["error"] = f"/metrics answered {reply.status_code}"
    except httpx.HTTPError as error:
        found["error"] = f"cannot be reached ({type(error).__name__})"
    except ValueError:
        found["error"] = "/metrics is none of Prometheus's"
    return found


def read_metrics(text: str) -> dict[str, Any]:
    """Reads the guard's metrics.

    Returns:
        The versions that are served, requests by what was done, and of each stage how often it ran
        and the quantiles of its time in microseconds, as finely as the buckets tell.

    Raises:
        ValueError: It is no text of metrics.
    """
    from prometheus_client.parser import text_string_to_metric_families

    versions: list[str] = []
    requests: dict[str, int] = {}
    buckets: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "guard_bundle_info" and sample.value == 1:
                versions.append(sample.labels["version"])
            elif sample.name == "guard_requests_total":
                requests[sample.labels["action"]] = int(sample.value)
            elif sample.name == "guard_stage_seconds_bucket":
                edge = float(sample.labels["le"])
                buckets[sample.labels["stage"]].append((edge, sample.value))
    stages = {stage: _times(sorted(found)) for stage, found in buckets.items()}
    return {"versions": sorted(versions), "requests": requests, "stages": stages}


def _times(buckets: Sequence[tuple[float, float]]) -> dict[str, float | None]:
    total = buckets[-1][1]
    times: dict[str, float | None] = {"count": total}
    for share in _QUANTILES:
        times[f"p{100 * share:g}"] = _quantile(buckets, share * total) if total else None
    return times


def _quantile(buckets: Sequence[tuple[float, float]], rank: float) -> float | None:
    """Where a rank lies in its bucket, were its times spread evenly; None beyond the last edge."""
    low, below = 0.0, 0.0
    for edge, count in buckets:
        if count >= rank:
            if math.isinf(edge):
                return None
            inside = (rank - below) / (count - below) if count > below else 1.0
            return round(1e6 * (low + inside * (edge - low)), 1)
        low, below = edge, count
    return None
