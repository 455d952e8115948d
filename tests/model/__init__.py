"""A model checker that drives the pipeline's own code through every interleaving."""
