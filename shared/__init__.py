"""What every function and the command line share: the contract, the ports, the media engine."""
