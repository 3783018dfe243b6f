"""The admin API and the console: a process and a port of their own, beside what serves clients.

`gate` lets nobody in without a token; `writer` makes one change at a time, audited; `held`, `feed`
and `endpoints` read what there is; `routes` and `watching` give it names; `console/` is the page.
"""
