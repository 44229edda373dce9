"""Figures of datasets, of judged models and of comparisons, and the HTML pages that hold them.

Every function takes arrays, tables or a dataset and returns a matplotlib `Figure`.
"""
