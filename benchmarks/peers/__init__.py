"""What people would pick instead, each run as its own documentation shows it, on the same photos.

One module a peer, each with `train(task, stopwatch)`; `python -m benchmarks.peers.run` starts one.
"""
