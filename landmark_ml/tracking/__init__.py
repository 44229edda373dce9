"""Runs in MLflow: start and end them safely, log to them, read them back.

Other rooms log and fetch through it and never start a run themselves.
"""
