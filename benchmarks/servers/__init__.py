"""Servers that are measured beside ours: the eager network behind other people's frameworks."""
