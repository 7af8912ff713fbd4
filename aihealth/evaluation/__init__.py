"""How good a model is, and why: metrics, intervals, leave-one-source-out, audit."""
