"""What avctl costs, measured: `python -m benches` from the repository's root."""
