"""The web app: a page and an HTTP API that answer for photos with the champion.

`serve` runs it on a port; `create_app` builds the ASGI application alone.
"""

from serving.app.application import create_app
from serving.app.server import serve
