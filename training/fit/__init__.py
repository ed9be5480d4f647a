"""Fits after training: tables, preview, rate estimate, document detector."""
