"""The checks of ``doctor``, and the comparison that ``audit`` makes."""
