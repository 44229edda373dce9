"""What answers questions about photos: the served model and its clients."""
