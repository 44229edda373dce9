"""Pages and cards that people read: training report, model card, dataset report, comparison.

It turns what `evaluation` measured into text and figures.
"""
