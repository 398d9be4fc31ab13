"""Trains cohorts one after another in the calling process, without Ray: `runner.run_local`."""
