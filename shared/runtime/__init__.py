"""The process around the work: logging, signals, forks, temporary folders."""
