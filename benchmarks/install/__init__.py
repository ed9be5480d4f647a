"""What a user meets: sizes of installs, times of commands and backends, a busy machine."""
