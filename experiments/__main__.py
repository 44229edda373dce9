"""`python -m experiments` is the command `landmarks`."""

from experiments.cli import landmarks

landmarks()
