"""Runs in MLflow: open and end them safely, log to them, read runs and models back.

Other rooms reach MLflow's runs through it; what its errors mean is said in `errors`.
"""
