"""One judge of a model: metrics, intervals and tests on photos it never learned from.

Training, `evaluate` and `promote` all ask `judge`.
"""
