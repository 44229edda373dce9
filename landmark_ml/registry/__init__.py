"""Versions of a registered model: register, promote with evidence, roll back, and the history.

The history is append-only and the aliases follow it.
"""
