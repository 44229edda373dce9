"""Reports that people read: of a training, of a model (its card), of a dataset, of several runs.

They turn what `evaluation` measured into text, tables and figures, and leave them in MLflow.
"""
