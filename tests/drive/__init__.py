"""What tests of Drive share: the stand-in in this process, and a check of its answers."""
