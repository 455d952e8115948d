"""What is deployed, made as the deployment makes it, in places that hold nothing else."""
