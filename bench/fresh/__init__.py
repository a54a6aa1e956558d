"""`make bench-fresh`: how long a fresh clone takes to answer. A bare Python 3.11 runs it, so it imports no package."""
