"""Entry points: parse, call the library, print."""
