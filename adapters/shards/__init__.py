"""An adapter that can be made to have never seen a part of what it was trained on (after S3T).

Chowdhury et al. (ICLR 2025, arXiv 2406.16257): the rows come in slices, here called
shards, and each has decoder layers of its own, from the last one down. Stage i trains the LoRA of
the i-th layers on the shards 1 … i, while that of the layers above, of earlier stages, is at work
and stays as it is. What shard j taught is then in stage j and in those after it, and in no other:
it is deleted by taking their layers' LoRA off, which leaves what the first j − 1 stages made, bit
for bit, as if training had ended there. Several orders of the shards (cyclic rotations, as there)
are trained apart, and the one that a deletion leaves the most of is served.

Three things differ. S3T also splits the rows over an ensemble of models; one request is answered by
one adapter, so there is one ensemble member. Its orders are chosen under a budget by a matching;
these are rotations alone. And the retain rows are common to all stages: they cannot be deleted
without training anew.
"""
