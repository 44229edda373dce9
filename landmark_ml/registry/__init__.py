"""Versions of a registered model: register, judge and promote with evidence, roll back.

Other rooms get `register` for a trained model; the history is append-only and decides the aliases.
"""
