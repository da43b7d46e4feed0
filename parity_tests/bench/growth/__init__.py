"""How time and memory grow with the rows, and with the processes that share them out."""
