"""Lets PIL write HEIC, as HEIF; our decoder never asks PIL's registry."""

from pillow_heif import register_heif_opener

register_heif_opener()
