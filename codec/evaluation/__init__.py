"""`cotam eval`: codecs under test, judges, metrics and the report."""
