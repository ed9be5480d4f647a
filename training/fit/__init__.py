"""What is fitted after training: tables, preview, rate estimate, document detector."""
