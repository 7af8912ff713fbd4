"""The networks, their starting weights, and what they are exported to."""
