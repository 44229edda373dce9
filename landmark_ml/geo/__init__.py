"""Where landmarks and photos are on the Earth.

It gives the place of a landmark and distances (`gazetteer`), the town and country of a position
(`reverse_geocode`) and their names in other languages (`names`).
"""
