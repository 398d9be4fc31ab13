"""The sweep's file: `SweepSpec` and its parts, the only input of a run. Loads without torch, Ray and Optuna."""
