"""What came out of a sweep: rows, a pandas table, figures, an exported configuration. No torch, Ray or Optuna."""
