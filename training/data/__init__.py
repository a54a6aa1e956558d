"""What goes into a data set and what is told of it: universe, market folder, data card, calibration samples."""
