"""semantic-router behind JSON lines; runs in an environment of its own, and imports nothing here.

It answers each line on stdin with one on stdout. ``{"encoder", "utterances", "positives",
"negatives"}`` makes a router and answers ``{"ready": true}``; ``{"texts"}`` answers
``{"scores", "ms"}``, each text routed by itself. What fails is answered with ``{"error"}``.
"""

import json
import os
import sys
import time
from typing import Any

ROUTE = "forget"


def make(request: dict[str, Any]) -> Any:
    """Makes the router, its calibration fitted as its documentation says to.

    Its confidence for a text that is among the utterances would be no sample of any other's; so a
    first router has only those utterances that are not in the labelled positives.
    """
    from semantic_router import IndexedRouter, Route  # type: ignore[import-not-found]
    from semantic_router.encoders.local import LocalEncoder  # type: ignore[import-not-found]

    encoder = LocalEncoder(name=request["encoder"], device="cpu")
    positives, negatives = request["positives"], request["negatives"]
    rest = [text for text in request["utterances"] if text not in set(positives)]
    first = IndexedRouter(encoder, [Route(name=ROUTE, utterances=rest)])
    first.fit([*positives, *negatives], [ROUTE] * len(positives) + [None] * len(negatives))
    return IndexedRouter(
        encoder,
        [Route(name=ROUTE, utterances=request["utterances"])],
        calibrator=first.calibrator,
    )


def route(router: Any, texts: list[str]) -> dict[str, list[float]]:
    """Routes texts one after the other; the confidence and the milliseconds of each."""
    scores, times = [], []
    for text in texts:
        began = time.perf_counter()
        choice = router(text, threshold=0.0)  # so that it tells its confidence in any case
        times.append(1000 * (time.perf_counter() - began))
        scores.append(choice.confidence or 0.0)
    return {"scores": scores, "ms": times}


def serve() -> None:
    """Answers until there is nothing more to read."""
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    router: Any = None
    answer: dict[str, Any]
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "encoder" in request:
                router, answer = make(request), {"ready": True}
            else:
                answer = route(router, request["texts"])
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve()
