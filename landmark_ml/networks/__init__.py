"""Networks from backbone to exported graph: create, freeze, heads, calibrate, export.

`training` takes from here a module to train, and turns a trained one into a portable artifact.
"""
