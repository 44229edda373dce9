"""Uses registered models: the web app, the tagger of photo libraries, the cluster path, a client.

`champion` loads the version that answers, for all of them.
"""
