"""What `python -m torch_impl COMMAND` does, a file for each command."""
