"""`landmarks query photo.jpg`: ask the served model about a photo and print its answer."""

import json
import os

from landmark_ml.config import QueryConfig, user_path
from serving.query import ask, describe


def main(config: QueryConfig) -> int:
    """Print the answer; status 1 when the photo cannot be answered."""
    if not config.photo:
        raise ValueError("photo is empty; name one: photo=photo.jpg")
    answer = ask(user_path(config.photo), config.url, {"top_k": config.top_k})
    if config.json:
        print(json.dumps(answer, indent=1, ensure_ascii=False))
    else:
        # A name that is not UTF-8 would be garbled by the terminal, so its odd bytes are escaped.
        print(describe(os.fsencode(config.photo).decode("utf-8", "backslashreplace"), answer))
    return int(answer["error"] is not None)
