"""The uvicorn server: start, drain, event loop lag and load shedding."""
