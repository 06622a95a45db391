"""What runs the worker, and what ops look at. Nothing of it is in the package."""
