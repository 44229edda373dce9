"""The web app: a page and an HTTP API that answer for photos with the champion."""

from serving.app.application import create_app
from serving.app.server import serve

__all__ = ["create_app", "serve"]
