"""Costs for a user: sizes of installs, times of commands and backends, also on a busy machine."""
