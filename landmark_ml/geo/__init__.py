"""Where landmarks and photos are on the Earth.

It gives the place of a landmark (`gazetteer`), the town and country of a position
(`reverse_geocode`) and distances (`place`).
"""
