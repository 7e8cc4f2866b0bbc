"""What training programs need around the tensors; so far `data`. Imports nothing by itself."""
