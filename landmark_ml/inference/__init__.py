"""Everything a served model needs: photo decoding, preprocessing, the network and its answer.

This folder is copied into every logged model, so it imports nothing else of the project.
"""
