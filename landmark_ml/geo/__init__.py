"""Where places are: the gazetteer of landmarks, and the town and country of a position.

Others ask it for the place of a landmark or the nearest town of a position.
"""
