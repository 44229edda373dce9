"""One judge of a model: metrics, intervals and tests on photos that it never learned from.

Training, `evaluate` and `promote` all call `judge.judge` and get the same `Report`; `metrics`
holds every metric with its caption, `report` shows what `evaluate` found.
"""
