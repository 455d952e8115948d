"""What recordings cost with more and more of them in the tracker: ``__main__`` runs it."""
