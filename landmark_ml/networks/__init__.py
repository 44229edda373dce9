"""Networks from backbone to exported graph: create, freeze, calibrate, export.

Gives `training` a module to train and turns a trained one into a portable artifact.
"""
