"""Measurements of time and speed, each a program of its own; none of them is a test."""
