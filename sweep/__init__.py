"""Which configurations are tried, where and for how long."""
