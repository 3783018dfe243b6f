"""In front of a server that cannot be changed: `guard proxy`, and the same around a client.

One way through (`guard.proxy.pipeline`) for both: a body is read strictly, judged, edited in what
HTTP allows, sent on, and its answer is read before it leaves. What a schema calls things is known
to its file in `guard/proxy/schemas` alone.
"""
